"""Tasks built from a spec: the contract, prompts and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kingyo.core.types import Item, ItemScore, Split, Task, Written
from kingyo.errors import KingyoError
from kingyo.tasks import TaskSpec, build_task, parse_task_spec
from kingyo.testing.tasks import ScriptedModel, TaskContract

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
