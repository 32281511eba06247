"""Search through single items: few of them per candidate are enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract
from kingyo.types import Axis, Genome, ItemScore, Outcome, Strategy, Trial


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


def search(name: str, seed: int, n: int, per: int) -> list[Trial]:
    rng = np.random.default_rng(seed)
    strategy = build(name, AXES, seed, {})
    trials: list[Trial] = []
    while len(trials) < n:
        asked = strategy.ask(strategy.batch)
        items = [int(item) for item in rng.choice(len(ITEMS), per, replace=False)]
        strategy.tell([score(trial, items, rng) for trial in asked])
        trials += asked
    return trials


def test_a_few_items_per_candidate_lead_to_the_peak() -> None:
    """480 coin tosses in all; the last generation lies near the peak, whose ability is 4."""
    last = [np.mean([ability(t.genome) for t in search("item-gp", seed, 60, 8)[-6:]]) for seed in range(3)]
    others = [np.mean([ability(t.genome) for t in search("cma-es", seed, 60, 8)[-6:]]) for seed in range(3)]
    assert min(last) > 3.0
    assert np.mean(last) > np.mean(others) + 0.3


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"initial": 0}, {"pool": 1}, {"memory": 5}, {"pool": 10_000}]
)
def test_settings_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(KingyoError, match=f"search.settings.{next(iter(options))}"):
        build("item-gp", AXES, 0, options)
