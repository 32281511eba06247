"""Search through single items: few of them per candidate are enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract
from kingyo.types import AppraisingStrategy, Axis, Genome, ItemScore, Outcome, Strategy, Trial


class TestItemGp(StrategyContract):
    axes = MIXED_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("item-gp", axes, seed, {"batch": 4, "initial": 5, "pool": 60, "memory": 40})


class TestItemGpOnFloats(StrategyContract):
    axes = FLOAT_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("item-gp", axes, seed, {"batch": 3, "initial": 1, "pool": 60})


AXES = tuple(Axis(name=f"x{n}", low=-1, high=2) for n in range(5))
PEAK = np.array([0.2, 1.1, 0.9, 0.0, 0.4])
ITEMS = np.linspace(-3, 3, 60)


def ability(genome: Genome) -> float:
    return 4 - 6 * float(((np.array(genome) - PEAK) ** 2).mean())


def score(trial: Trial, items: Sequence[int], rng: np.random.Generator) -> Outcome:
    chance = 1 / (1 + np.exp(ITEMS[list(items)] - ability(trial.genome)))
    right = rng.random(len(items)) < chance
    return Outcome(
        trial=trial,
        scores=tuple(
            ItemScore(item=f"i{item}", score=float(each), answer="")
            for item, each in zip(items, right, strict=True)
        ),
        is_partial=True,
    )


def search(name: str, seed: int, n: int, per: int) -> tuple[list[Trial], Strategy, list[float]]:
    rng = np.random.default_rng(seed)
    strategy = build(name, AXES, seed, {})
    trials: list[Trial] = []
    scores: list[float] = []
    while len(trials) < n:
        asked = strategy.ask(strategy.batch)
        items = [int(item) for item in rng.choice(len(ITEMS), per, replace=False)]
        outcomes = [score(trial, items, rng) for trial in asked]
        strategy.tell(outcomes)
        trials += asked
        scores += [outcome.score or 0.0 for outcome in outcomes]
    return trials, strategy, scores


def test_a_few_items_per_candidate_lead_to_the_peak() -> None:
    """480 coin tosses in all; the answer is near the peak, whose ability is 4, and better than at random."""
    answers = [_answer("item-gp", seed) for seed in range(4)]
    others = [_answer("random", seed) for seed in range(4)]
    assert min(answers) > 2.5
    assert np.mean(answers) > np.mean(others) + 0.5


def _answer(name: str, seed: int) -> float:
    """How able the point is that the search would answer: by its belief, or by its best mean."""
    trials, strategy, scores = search(name, seed, 60, 8)
    genomes = [trial.genome for trial in trials]
    beliefs = strategy.appraise(genomes) if isinstance(strategy, AppraisingStrategy) else scores
    assert beliefs is not None
    return ability(genomes[int(np.argmax(beliefs))])


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"initial": 0}, {"pool": 1}, {"memory": 5}, {"pool": 10_000}]
)
def test_settings_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(KingyoError, match=f"search.settings.{next(iter(options))}"):
        build("item-gp", AXES, 0, options)
