"""A candidate to its evaluation: whatever goes wrong is a value, also what a task gives back."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from kingyo.engine import open_sources
from kingyo.errors import KingyoError
from kingyo.recipe import Recipe, Source
from kingyo.run.config import parse_config
from kingyo.run.worker import candidate_timeout
from kingyo.runners.evaluate import Evaluator, Filled, scores_of
from kingyo.tasks import TextSettings
from kingyo.tasks.generate import GenerateTask
from kingyo.testing.tasks import ScriptedModel
from kingyo.types import Item, ItemScore, LanguageModel, Split, Task
from tests.models_on_disk import llama

ITEMS = tuple(Item(id=name, prompt=name, answer="1") for name in ("x", "y"))
RIGHT = (ItemScore(item="x", score=1.0, answer="1"), ItemScore(item="y", score=0.0, answer="0"))
RECIPE = Recipe(merge_method="linear", sources=(Source(model="one", parameters={"weight": 1.0}),))


class Model(ScriptedModel):
    """A model that says nothing, with weights to fill."""

    def __init__(self, weights: Mapping[str, Tensor], says: Mapping[str, str] | None = None) -> None:
        super().__init__(says or {})
        self.weights = weights


@dataclass
class GivenTask:
    """A task that returns what it is given."""

    scores: Sequence[ItemScore]
    name: str = "given"

    def items(self, split: Split) -> Sequence[Item]:
        return ITEMS

    def score(self, model: LanguageModel, items: Sequence[Item]) -> Sequence[ItemScore]:
        return self.scores


def evaluator(
    folder: Path, task: Task, says: Mapping[str, str] | None = None, timeout: float | None = None
) -> Evaluator:
    if not (folder / "one").exists():
        llama(folder / "one")
    sources = open_sources(RECIPE, folder)
    weights = {name: sources.read("one", name).clone() for name in sources["one"].tensors}
    return Evaluator(Filled(Model(weights, says), sources), task, timeout)


def test_scores_and_times(tmp_path: Path) -> None:
    evaluation = evaluator(tmp_path, GivenTask(RIGHT))(RECIPE, "fit")
    assert evaluation.scores == RIGHT and evaluation.failure is None and evaluation.mean == 0.5
    assert evaluation.build_seconds > 0 and evaluation.score_seconds > 0


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
    ("name", "says"),
    [("raises", "received ValueError: no idea"), ("hangs", r"expected a score within 0\.2 s; received none")],
)
def test_a_grader_that_fails_on_one_item_costs_that_candidate_alone(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "mine.py").write_text(GRADERS)
    settings = TextSettings(grader=f"mine.py:{name}", grader_timeout=0.2, max_new_tokens=4)
    task = GenerateTask("mine", settings, {"fit": ITEMS}, tmp_path)
    found = [evaluator(tmp_path, task, {"x": "1", "y": said})(RECIPE, "fit") for said in ("1", "odd", "1")]
    assert [each.mean for each in found] == [1.0, None, 1.0]
    assert re.search(rf"grader mine\.py:{name} on item y: .*{says}", str(found[1].failure))
    assert found[1].scores == ()


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ((), "one score for each of 2 items, in their order; received 0 scores"),
        (RIGHT[:1], "received 1 scores"),
        (RIGHT[::-1], "received another order"),
        ((1.0, 0.5), "task: expected an ItemScore for each item; received 1.0"),
        (None, "task: expected an ItemScore for each item; received None"),
        ((RIGHT[0], ItemScore(item="y", score=float("nan"), answer="")), "score of item y.*received nan"),
        ((RIGHT[0], ItemScore(item="y", score=2.0, answer="")), "from 0 to 1; received 2.0"),
        ((RIGHT[0], ItemScore("y", 1.0, "", media=b"PNG")), "media of item y.*received b'PNG'"),  # type: ignore[arg-type]
    ],
    ids=["none", "too few", "shuffled", "numbers", "nothing", "NaN", "above 1", "bytes as media"],
)
def test_a_task_that_breaks_its_promise_is_a_failure(
    tmp_path: Path, scores: Sequence[ItemScore], says: str
) -> None:
    evaluation = evaluator(tmp_path, GivenTask(scores))(RECIPE, "fit")
    assert evaluation.scores == () and evaluation.mean is None
    assert evaluation.failure is not None
    assert re.search(says, evaluation.failure), evaluation.failure


def test_a_task_that_blocks_costs_its_candidate_within_the_limit(tmp_path: Path) -> None:
    class Blocks(GivenTask):
        def score(self, model: LanguageModel, items: Sequence[Item]) -> Sequence[ItemScore]:
            threading.Event().wait()
            return super().score(model, items)

    evaluation = evaluator(tmp_path, Blocks(RIGHT), timeout=0.2)(RECIPE, "fit")
    assert evaluation.failure == "took longer than 0.2 s"
    assert evaluator(tmp_path, GivenTask(RIGHT), timeout=60)(RECIPE, "fit").scores == RIGHT


def test_a_task_of_the_users_own_that_crashes_is_one_error_where_one_model_is_scored() -> None:
    class Crashing(GivenTask):
        def score(self, model: LanguageModel, items: Sequence[Item]) -> Sequence[ItemScore]:
            raise KeyError("lost")

    with pytest.raises(KingyoError, match=r"task given: .*KeyError: 'lost' \(.*test_evaluate\.py line"):
        scores_of(Crashing(RIGHT), ScriptedModel({}), ITEMS)
    with pytest.raises(KingyoError, match="one score for each of 2 items"):
        scores_of(GivenTask(RIGHT[:1]), ScriptedModel({}), ITEMS)


@pytest.mark.parametrize(
    ("kind", "timeout", "seconds"),
    [(None, None, None), ("own.py:Kind", None, 3600), ("own.py:Kind", 5, 5), ("choice", 7, 7)],
)
def test_a_task_of_the_users_own_that_blocks_has_an_hour_where_no_limit_is_given(
    kind: str | None, timeout: float | None, seconds: float | None
) -> None:
    task = {"data": "x.jsonl", "prompt": "{q}", "answer": "a", "grader": "exact", "kind": kind}
    if kind == "choice":
        task = {"data": "x.jsonl", "prompt": "{q}", "answer": "a", "choices": "c", "grader": "choice"}
    said = {"name": "r", "sources": {"a": "a"}, "task": task, "budget": {"candidates": 2}, "timeout": timeout}
    given = {key: value for key, value in said.items() if value is not None}
    given["task"] = {key: value for key, value in task.items() if value is not None}
    assert candidate_timeout(parse_config(given, "run.yaml")) == seconds
