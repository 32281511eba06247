"""The evaluator: crashes and invalid scores of a task become failures of the candidate."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from kingyo.core.types import Answered, Item, ItemScore, LanguageModel, Progress, Split, Task, ignore_progress
from kingyo.errors import KingyoError
from kingyo.merging.engine import open_sources
from kingyo.merging.recipe import Recipe, Source
from kingyo.runs.config import parse_config
from kingyo.runs.worker import candidate_timeout
from kingyo.search.runners.evaluate import Evaluator, InPlaceMerger, scores_of
from kingyo.tasks import TextSettings
from kingyo.tasks.combined import SeveralTasks
from kingyo.tasks.generate import GenerateTask
from kingyo.testing.tasks import ScriptedModel
from tests.models_on_disk import llama

ITEMS = tuple(Item(id=name, prompt=name, answer="1") for name in ("x", "y"))
RIGHT = (ItemScore(item="x", score=1.0, answer="1"), ItemScore(item="y", score=0.0, answer="0"))
RECIPE = Recipe(merge_method="linear", sources=(Source(model="one", parameters={"weight": 1.0}),))


class Model(ScriptedModel):
    """A scripted model with weights."""

    def __init__(self, weights: Mapping[str, Tensor], answers: Mapping[str, str] | None = None) -> None:
        super().__init__(answers or {})
        self.weights = weights


@dataclass
class FixedTask:
    """A task that returns fixed scores, or crashes."""

    scores: Sequence[ItemScore]
    name: str = "fixed"
    problem: BaseException | None = None

    def items(self, split: Split) -> Sequence[Item]:
        return ITEMS

    def score(self, model: LanguageModel, items: Sequence[Item]) -> Sequence[ItemScore]:
        if self.problem is not None:
            raise self.problem
        return self.scores


def evaluator(
    folder: Path, task: Task, answers: Mapping[str, str] | None = None, timeout: float | None = None
) -> Evaluator:
    if not (folder / "one").exists():
        llama(folder / "one")
    sources = open_sources(RECIPE, folder)
    weights = {name: sources.read("one", name).clone() for name in sources["one"].tensors}
    return Evaluator(InPlaceMerger(Model(weights, answers), sources), task, timeout)


GRADERS = """
import threading

def raises(answer, item):
    if item.id == "y" and answer == "odd":
        raise ValueError("no idea")
    return 1.0

def hangs(answer, item):
    if item.id == "y" and answer == "odd":
        threading.Event().wait()
    return 1.0
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [("raises", "received ValueError: no idea"), ("hangs", r"expected a score within 0\.2 s; received none")],
)
def test_a_grader_that_fails_on_an_item_fails_that_candidate_alone(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(GRADERS)
    settings = TextSettings(grader=f"mine.py:{name}", grader_timeout=0.2, max_new_tokens=4)
    task = GenerateTask("mine", settings, {"fit": ITEMS}, tmp_path)
    evaluations = [
        evaluator(tmp_path, task, {"x": "1", "y": answer})(RECIPE, "fit") for answer in ("1", "odd", "1")
    ]
    assert [each.mean for each in evaluations] == [1.0, None, 1.0]
    assert re.search(rf"grader mine\.py:{name} on item y: .*{message}", str(evaluations[1].failure))
    assert evaluations[1].scores == ()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (RIGHT[:1], "an ItemScore for each of 2 items, in their order; received 1 in another"),
        (RIGHT[::-1], "received 2 in another order"),
        ((1.0, 0.5), r"task: .*received \(1.0, 0.5\)"),
        (None, "task: .*received None"),
        ((RIGHT[0], ItemScore(item="y", score=float("nan"), answer="")), "score of item y.*received nan"),
        ((RIGHT[0], ItemScore(item="y", score=2.0, answer="")), "from 0 to 1; received 2.0"),
        ((RIGHT[0], ItemScore("y", 1.0, "", media=b"PNG")), "media of item y.*received b'PNG'"),  # type: ignore[arg-type]
    ],
    ids=["too few", "shuffled", "numbers", "nothing", "NaN", "above 1", "bytes as media"],
)
def test_invalid_scores_of_a_task_are_a_failure(
    tmp_path: Path, scores: Sequence[ItemScore], message: str
) -> None:
    evaluation = evaluator(tmp_path, FixedTask(scores))(RECIPE, "fit")
    assert evaluation.scores == () and evaluation.mean is None
    assert evaluation.failure is not None
    assert re.search(message, evaluation.failure), evaluation.failure


def test_an_evaluation_names_the_files_that_graders_read(tmp_path: Path) -> None:
    words = "from pathlib import Path\nWORDS = Path(__file__).with_name('words.txt')\n"
    (tmp_path / "mine.py").write_text(f"{words}def grade(answer, item): return answer in WORDS.read_text()\n")
    (tmp_path / "words.txt").write_text("1")
    settings = TextSettings(grader="mine.py:grade", grader_timeout=60, max_new_tokens=4)
    task = GenerateTask("mine", settings, {"fit": ITEMS}, tmp_path)
    evaluation = evaluator(tmp_path, task, {"x": "1", "y": "1"})(RECIPE, "fit")
    assert {"mine.py", "words.txt"} <= dict(evaluation.files).keys() and evaluation.mean == 1


@pytest.mark.parametrize("problem", [ValueError("odd"), KeyError("odd"), SystemExit("odd")])
def test_a_crash_of_a_task_is_a_failure_with_its_place(tmp_path: Path, problem: BaseException) -> None:
    failure = evaluator(tmp_path, FixedTask(RIGHT, problem=problem))(RECIPE, "fit").failure or ""
    assert re.fullmatch(rf"{type(problem).__name__}: .*odd.* \(.*test_evaluate\.py line \d+\)", failure)


def test_a_task_that_blocks_fails_its_candidate_at_the_timeout(tmp_path: Path) -> None:
    class Blocks(FixedTask):
        def score(self, model: LanguageModel, items: Sequence[Item]) -> Sequence[ItemScore]:
            threading.Event().wait()
            return super().score(model, items)

    evaluation = evaluator(tmp_path, Blocks(RIGHT), timeout=0.2)(RECIPE, "fit")
    assert evaluation.failure == "took longer than 0.2 s"
    evaluation = evaluator(tmp_path, FixedTask(RIGHT), timeout=60)(RECIPE, "fit")
    assert evaluation.scores == RIGHT and evaluation.failure is None
    assert evaluation.build_seconds > 0 and evaluation.score_seconds > 0


class Counting(Model):
    """A scripted model that reports each answer."""

    progress: Progress = staticmethod(ignore_progress)

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        for n in range(1, len(prompts) + 1):
            self.progress(Answered(n, n, len(prompts)))
        return super().generate(prompts, max_new_tokens=max_new_tokens, stop=stop)


def test_items_are_counted_across_tasks(tmp_path: Path) -> None:
    settings = TextSettings(grader="exact", max_new_tokens=4)
    items = [Item(id=f"{task}{n}", prompt="", answer="", task=task) for task in "ab" for n in range(3)]
    tasks = [
        GenerateTask(name, settings, {"fit": [item for item in items if item.task == name]}, tmp_path)
        for name in "ab"
    ]
    counts: list[Answered] = []
    scores_of(SeveralTasks(tasks, {"a": 1, "b": 1}), Counting({}), items, counts.append)
    assert counts == [Answered(n, n, 6) for n in range(1, 7)]


def test_a_report_that_fails_is_no_failure_of_the_candidate(tmp_path: Path) -> None:
    def closed(_: Answered) -> None:
        raise BrokenPipeError

    evaluate = evaluator(tmp_path, FixedTask(RIGHT))
    evaluate.progress = closed
    with pytest.raises(BrokenPipeError):
        evaluate(RECIPE, "fit")


def test_scores_of_raises_one_error_when_a_task_crashes() -> None:
    with pytest.raises(KingyoError, match=r"task fixed: .*KeyError: 'lost' \(.*test_evaluate\.py line"):
        scores_of(FixedTask(RIGHT, problem=KeyError("lost")), ScriptedModel({}), ITEMS)
    with pytest.raises(KingyoError, match="an ItemScore for each of 2 items"):
        scores_of(FixedTask(RIGHT[:1]), ScriptedModel({}), ITEMS)


@pytest.mark.parametrize(("timeout", "seconds"), [({}, 3600), ({"timeout": 5}, 5)])
def test_candidates_of_a_user_task_have_an_hour_by_default(timeout: dict[str, float], seconds: float) -> None:
    task = {"data": "x.jsonl", "prompt": "{q}", "answer": "a", "grader": "exact", "kind": "own.py:Kind"}
    settings = {"name": "r", "sources": {"a": "a"}, "task": task, "budget": {"candidates": 2}, **timeout}
    assert candidate_timeout(parse_config(settings, "run.yaml")) == seconds
