"""Given points first, then a strategy that knows how they ended."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kingyo.core.types import Axis, Strategy
from kingyo.search.strategies import build
from kingyo.search.strategies.combinators import InitialPointsStrategy
from kingyo.testing.strategies import MIXED_AXES, StrategyContract, failed, scored

POINTS = ((1.0, 0.5, 2.0, 1.0, 0.0), (0.0, 0.25, 7.0, 0.0, 2.0), (1.0, 0.5, 2.0, 1.0, 0.0))
SMALL = {"batch": 4, "initial": 3, "pool": 40, "memory": 30}


class TestSeededGa(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return InitialPointsStrategy(build("ga", axes, seed, {"population": 6}), POINTS)


def test_points_come_first_each_once_and_in_their_order() -> None:
    strategy = InitialPointsStrategy(build("random", MIXED_AXES, 0, {}), POINTS)
    assert strategy.batch == 2
    assert [trial.genome for trial in strategy.ask(2)] == list(POINTS[:2])
    assert strategy.batch == build("random", MIXED_AXES, 0, {}).batch


@pytest.mark.parametrize("name", ["ga", "mixed-cma-es", "item-gp"])
def test_the_strategy_continues_as_with_known_points(name: str) -> None:
    settings = {"population": 6} if name != "item-gp" else SMALL
    strategy = InitialPointsStrategy(build(name, MIXED_AXES, 3, settings), POINTS)
    first = strategy.ask(strategy.batch)
    strategy.tell([scored(first[0], 0.3), scored(first[1], 0.9)])
    alone = build(name, MIXED_AXES, 3, settings)
    alone.warm_start(  # pyright: ignore[reportAttributeAccessIssue]
        [
            scored(trial.__class__(number=-1 - i, genome=trial.genome), score)
            for i, (trial, score) in enumerate(zip(first, (0.3, 0.9), strict=True))
        ]
    )
    for _ in range(3):
        trials, expected = strategy.ask(6), alone.ask(6)
        assert [each.genome for each in trials] == [each.genome for each in expected]
        assert [each.number for each in trials] == [each.number + 2 for each in expected]
        strategy.tell([scored(each, each.genome[1]) for each in trials])
        alone.tell([scored(each, each.genome[1]) for each in expected])


def test_points_that_fail_are_not_learned_of() -> None:
    strategy = InitialPointsStrategy(build("ga", MIXED_AXES, 0, {"population": 4}), POINTS)
    strategy.tell([failed(each) for each in strategy.ask(2)])
    alone = build("ga", MIXED_AXES, 0, {"population": 4})
    assert [each.genome for each in strategy.ask(4)] == [each.genome for each in alone.ask(4)]
