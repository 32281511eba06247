"""A candidate to its evaluation: whatever goes wrong is a value, also what a task gives back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from kingyo.evaluate import Evaluator
from kingyo.merge import open_sources
from kingyo.recipe import Recipe, Source
from kingyo.testing.tasks import ScriptedModel
from kingyo.types import Item, ItemScore, LanguageModel, Split
from tests.models_on_disk import llama

ITEMS = tuple(Item(id=name, prompt=name, answer="1") for name in ("x", "y"))
RIGHT = (ItemScore(item="x", score=1.0, answer="1"), ItemScore(item="y", score=0.0, answer="0"))
RECIPE = Recipe(merge_method="linear", sources=(Source(model="one", parameters={"weight": 1.0}),))


class Model(ScriptedModel):
    """A model that says nothing, with weights to fill."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__({})
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


def evaluator(folder: Path, scores: Sequence[ItemScore]) -> Evaluator:
    llama(folder / "one")
    sources = open_sources(RECIPE, folder)
    weights = {name: sources.read("one", name).clone() for name in sources["one"].tensors}
    return Evaluator(Model(weights), sources, GivenTask(scores))


def test_scores_and_times(tmp_path: Path) -> None:
    evaluation = evaluator(tmp_path, RIGHT)(RECIPE, "fit")
    assert evaluation.scores == RIGHT and evaluation.failure is None and evaluation.mean == 0.5
    assert evaluation.build_seconds > 0 and evaluation.score_seconds > 0


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ((), "one score for each of 2 items, in their order; received 0 scores"),
        (RIGHT[:1], "received 1 scores"),
        (RIGHT[::-1], "received another order"),
        ((RIGHT[0], ItemScore(item="y", score=float("nan"), answer="")), "score of item y.*received nan"),
        ((RIGHT[0], ItemScore(item="y", score=2.0, answer="")), "from 0 to 1; received 2.0"),
    ],
    ids=["none", "too few", "shuffled", "NaN", "above 1"],
)
def test_a_task_that_breaks_its_promise_is_a_failure(
    tmp_path: Path, scores: Sequence[ItemScore], says: str
) -> None:
    evaluation = evaluator(tmp_path, scores)(RECIPE, "fit")
    assert evaluation.scores == () and evaluation.mean is None
    assert evaluation.failure is not None
    assert re.search(says, evaluation.failure), evaluation.failure
