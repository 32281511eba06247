"""Tasks built from a spec: the contract, prompts and scores."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from kingyo.core.types import Item, ItemScore, Split, Task, Written
from kingyo.errors import KingyoError, MistakesError
from kingyo.runs.config import parse_config
from kingyo.tasks import (
    TaskSpec,
    build_task,
    build_tasks,
    load_items,
    load_splits,
    parse_task_spec,
    settings_of,
    weights_of,
)
from kingyo.testing.tasks import ScriptedModel, TaskContract
from tests.tasks.pictures import KIND, TASK, album

GENERATE = parse_task_spec({"data": "x.jsonl", "grader": "number", "stop": ["\n"], "max_new_tokens": 20})
CHOICE = parse_task_spec({"data": "x.jsonl", "grader": "choice", "choices": "options"})


class TestGenerateTask(TaskContract):
    def make(self, splits: Mapping[Split, Sequence[Item]]) -> Task:
        return build_task(GENERATE, splits, Path())


class TestChoiceTask(TaskContract):
    def make(self, splits: Mapping[Split, Sequence[Item]]) -> Task:
        return build_task(CHOICE, splits, Path())


ITEM = Item(id="i7", prompt="1 + 2", answer="3", choices=("2", "3", "13"))
SPLITS: dict[Split, list[Item]] = {"fit": [ITEM], "validation": [], "test": []}


def build(**changes: object) -> Task:
    return build_task(parse_task_spec({"data": "x.jsonl", "grader": "number", **changes}), SPLITS, Path())


def test_it_generates_and_grades() -> None:
    task = build(stop=["\n"], max_new_tokens=9)
    (score,) = task.score(ScriptedModel({"1 + 2": "it is 3.0\n4"}), [ITEM])
    assert score == ItemScore(item="i7", score=1.0, answer="it is 3.0")


def test_chat_prompts_go_through_the_template() -> None:
    model = ScriptedModel({"<user>1 + 2<model>": "3"})
    assert build(chat=True).score(model, [ITEM])[0].score == 1
    assert model.prompts == ["<user>1 + 2<model>"]
    chosen = build(chat=True, grader={"choice": {"separator": " "}}, choices="options")
    assert chosen.score(model, [ITEM])[0] == ItemScore(item="i7", score=1.0, answer="3")


class Likelihoods(ScriptedModel):
    """Returns fixed log-likelihoods of continuations."""

    def __init__(self, values: dict[str, float]) -> None:
        super().__init__({})
        self.values = values

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [self.values[continuation] for _, continuation in pairs]


def test_the_most_likely_choice_wins_without_normalisation() -> None:
    task = build(grader={"choice": {"normalise": False}}, choices="options")
    assert task.score(Likelihoods({"2": -3.0, "3": -1.0, "13": -1.5}), [ITEM])[0].answer == "3"
    assert task.score(Likelihoods({"2": -3.0, "3": -1.0, "13": -0.5}), [ITEM])[0].score == 0
    assert task.score(Likelihoods({"2": -1.0, "3": -1.0, "13": -1.0}), [ITEM])[0].answer == "2"


def test_a_long_right_choice_is_not_beaten_by_a_short_one_for_its_length() -> None:
    short, long = "no", "only if it was paid for in advance"
    item = Item(id="i9", prompt="?", answer=long, choices=(short, long))
    task = build(grader="choice", choices="options")
    assert task.score(Likelihoods({short: -3.0, long: -9.0}), [item])[0].score == 1
    assert task.score(Likelihoods({short: -0.2, long: -9.0}), [item])[0].score == 0


class Unending(ScriptedModel):
    """Reports every other answer as cut."""

    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        texts = self.generate(prompts, max_new_tokens=max_new_tokens, stop=stop)
        return [Written(text, is_cut=place % 2 == 0) for place, text in enumerate(texts)]


def test_a_cut_answer_is_marked_if_the_model_reports_it() -> None:
    items = [ITEM, Item(id="i8", prompt="2 + 2", answer="4")]
    script = {"1 + 2": "3", "2 + 2": "4"}
    assert [each.is_cut for each in build().score(Unending(script), items)] == [True, False]
    assert [each.is_cut for each in build().score(ScriptedModel(script), items)] == [False, False]


def test_items_that_cannot_be_graded_are_refused_before_the_search() -> None:
    bad = Item(id="i8", prompt="?", answer="many")
    with pytest.raises(KingyoError, match="answer of item i8"):
        build_task(GENERATE, {**SPLITS, "test": [bad]}, Path())
    with pytest.raises(KingyoError, match=r"answer of item i8: .*received 'many'"):
        build_task(CHOICE, {**SPLITS, "test": [bad]}, Path())


OTHER = """
class Other:
    name = "other"
    def __init__(self, found):
        self.found = found
    def items(self, split):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found
    def score(self, model, items):
        return []
"""


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("None", "received None"),
        ("exit(3)", "SystemExit: 3"),
        ("Other(KeyError('lost'))", "KeyError: 'lost'"),
        ("Other(None)", "TypeError"),
        ("Other(['a'])", "received other items"),
    ],
)
def test_a_failing_custom_kind_is_named(tmp_path: Path, returned: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(OTHER + f"def kind(name, settings, splits, folder): return {returned}")
    spec = TaskSpec(data="x.jsonl", grader="number", kind="mine.py:kind", name="mine")
    with pytest.raises(KingyoError, match=rf"kind mine\.py:kind of task mine: .*{message}"):
        build_task(spec, SPLITS, tmp_path)


def test_a_kind_has_its_keys_and_none_of_text(tmp_path: Path) -> None:
    album(tmp_path, 4)
    spec = parse_task_spec(TASK)
    settings = settings_of(spec, tmp_path)
    assert vars(settings) == {"question": TASK["question"], "images": "image", "answer": "answer"}
    assert spec.graders == ()
    for key, nearest in (("imags", "images"), ("spilts", "splits"), ("qustion", "question")):
        with pytest.raises(KingyoError, match=f"task task: .*'{key}'. Did you mean '{nearest}'"):
            load_items(parse_task_spec({**TASK, key: "x"}), tmp_path)
    with pytest.raises(KingyoError, match=r"task task: expected a known key; received 'grader'"):
        load_items(parse_task_spec({**TASK, "grader": "exact"}), tmp_path)


def test_a_kind_may_add_keys_to_those_of_text(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"{i} + 1 =", "answer": str(i + 1)}) for i in range(8)]
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from kingyo.tasks import TextSettings\n"
        "from kingyo.tasks.generate import GenerateTask\n"
        "class Kind(GenerateTask):\n"
        "    @dataclass(frozen=True, kw_only=True)\n"
        "    class Settings(TextSettings):\n"
        "        hardness: float = 0.5\n"
    )
    least = {"data": "items.jsonl", "grader": "exact", "kind": "mine.py:Kind"}
    spec = parse_task_spec({**least, "hardness": 0.25, "stop": ["\n"]})
    settings = settings_of(spec, tmp_path)
    assert (settings.hardness, settings.stop) == (0.25, ("\n",))  # type: ignore[attr-defined]
    assert len(load_items(spec, tmp_path).items) == 8
    with pytest.raises(KingyoError, match=r"task task: hardness: expected a number; received True"):
        settings_of(parse_task_spec({**least, "hardness": True}), tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("class Kind:\n    Settings = 3\n", "Settings; received 3"),
        (KIND.replace("def read_item", "def read_items"), r"read_item\(row, settings\)"),
        (
            KIND.replace("return with_images(item, row, settings.images)", "return 3"),
            "TypeError: 3",
        ),
        (
            KIND.replace("return with_images(item, row, settings.images)", "return row.gone"),
            "line 1: kind .*gone",
        ),
        (KIND.replace("fields=fields)", "fields=fields, group=3)"), "the group 3, which is not text"),
        (KIND.replace("fields=fields)", 'fields=fields, group="\\ud800")'), "'group': .*U.D800"),
        (KIND.replace("question: str", "question: slice"), "YAML"),
    ],
)
def test_an_invalid_custom_kind_is_named(tmp_path: Path, kind: str, message: str) -> None:
    album(tmp_path, 4)
    (tmp_path / "mine.py").write_text(kind)
    with pytest.raises(KingyoError, match=message) as caught:
        load_items(
            parse_task_spec({**TASK, "kind": "mine.py:" + ("Kind" if "Kind" in kind else "Colours")}),
            tmp_path,
        )
    assert "Traceback" not in str(caught.value)


def test_all_errors_of_a_task_are_reported_together() -> None:
    task = {"dta": "items.jsonl", "grader": 3, "stopp": ["x"], "max_new_tokens": "many", "weight": -1}
    with pytest.raises(MistakesError) as caught:
        parse_config(
            {"sources": {"a": "a"}, "budget": {"candidates": 1}, "tasks": {"sums": task}}, "run.yaml"
        )
    mistakes = [str(each) for each in caught.value.mistakes]
    assert len(mistakes) == 5, mistakes
    for start, part in (
        ("run.yaml: tasks.sums: ", "'dta'. Did you mean 'data'"),
        ("run.yaml: tasks.sums: ", "'stopp'. Did you mean 'stop'"),
        ("run.yaml: tasks.sums.grader: ", "a grader's name"),
        ("run.yaml: tasks.sums.max_new_tokens: ", "a whole number"),
        ("run.yaml: tasks.sums.weight: ", "greater than 0"),
    ):
        assert any(each.startswith(start) and part in each for each in mistakes), (start, part, mistakes)


def parrot() -> ScriptedModel:
    return ScriptedModel(lambda prompt: prompt.split()[-1])


def write(folder: Path) -> dict[str, TaskSpec]:
    """Write two tasks of different sizes that share three questions."""
    specs: dict[str, TaskSpec] = {}
    for name, n in (("echo", 12), ("other", 30)):
        rows = [{"prompt": f"{'same' if i < 3 else name} {i}", "answer": str(i)} for i in range(n)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        specs[name] = TaskSpec.model_validate(
            {"name": name, "data": f"{name}.jsonl", "grader": "exact", "weight": 1 if name == "echo" else 3}
        )
    return specs


def test_each_task_is_asked_once_and_scores_keep_the_order(tmp_path: Path) -> None:
    specs = write(tmp_path)
    splits = load_splits(specs, tmp_path).splits
    task = build_tasks(specs, splits, tmp_path)
    mixed = sorted(splits["fit"], key=lambda item: item.id[-3:])
    model = parrot()
    scores = task.score(model, mixed)
    assert [each.item for each in scores] == [item.id for item in mixed]
    assert {each.score for each in scores} == {1.0}
    owner = {item.prompt: item.task for item in mixed if "same" not in item.prompt}
    tasks = [owner[prompt] for prompt in model.prompts if prompt in owner]
    assert [task for task, _ in groupby(tasks)] in (["echo", "other"], ["other", "echo"])
    assert len(model.prompts) == len(mixed) == 21
    assert weights_of(task) == {"echo": 1.0, "other": 3.0}


def test_an_item_of_no_task_is_refused(tmp_path: Path) -> None:
    specs = write(tmp_path)
    task = build_tasks(specs, load_splits(specs, tmp_path).splits, tmp_path)
    with pytest.raises(KingyoError, match=r"task of an item: .*received 'ecko'"):
        task.score(parrot(), [Item(id="x", prompt="x 1", answer="1", task="ecko")])


class TestSeveralTasks(TaskContract):
    @pytest.fixture(autouse=True)
    def _world(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.specs = write(tmp_path)

    def make(self, splits: Mapping[Split, Sequence[Item]]) -> Task:
        return build_tasks(self.specs, splits, self.folder)

    def make_items(self, split: Split) -> Sequence[Item]:
        splits = load_splits(self.specs, self.folder).splits
        assert set(splits) == set(SPLITS)
        return splits[split]

    def make_model(self) -> object:
        return parrot()
