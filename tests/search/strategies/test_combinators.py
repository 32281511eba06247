"""Strategies around others: few genes first, then more; and given points first."""

import itertools
from collections.abc import Sequence
from typing import ClassVar

import pytest

from kingyo.core.types import Axis, Outcome, Strategy, Trial
from kingyo.search.strategies import build, combinators
from kingyo.search.strategies.combinators import InitialPointsStrategy, build_groupings
from kingyo.search.strategies.random_and_grid import RandomSearch
from kingyo.testing.strategies import MIXED_AXES, StrategyContract, failed, scored
from tests.search.strategies.problems import LAYERED


def test_each_level_is_finer_than_the_one_before() -> None:
    levels = build_groupings(LAYERED)
    assert [len(level.axes) for level in levels] == [2, 4, 8, 10]
    assert levels[1].groups == ((0, 1, 2), (3, 4), (5, 6, 7), (8, 9))
    for level, finer in itertools.pairwise(levels):
        for group in finer.groups:
            assert any(set(group) <= set(coarser) for coarser in level.groups)
    assert levels[-1].axes == LAYERED


def test_axes_that_differ_in_kind_or_bounds_are_separate() -> None:
    other = Axis(name="weight/a/head", low=0, high=2, place=1.0, family="weight/a")
    (only,) = build_groupings((*MIXED_AXES, other))
    assert only.axes == (*MIXED_AXES, other)


def test_a_coarse_point_is_a_fine_one_with_equal_genes() -> None:
    level = build_groupings(LAYERED)[0]
    assert level.expand((0.25, 0.75)) == (0.25,) * 5 + (0.75,) * 5
    assert level.reduce(level.expand((0.25, 0.75))) == (0.25, 0.75)
    assert level.contains((0.25,) * 10)
    assert not level.contains((0.25,) * 9 + (0.5,))


def test_a_search_goes_from_few_genes_to_all() -> None:
    strategy = build("coarse-to-fine", LAYERED, 0, {"per_gene": 2, "settings": {"batch": 2, "initial": 2}})
    different: list[int] = []
    while len(different) < 40:
        trials = strategy.ask(2)
        different += [len(set(trial.genome[:5])) for trial in trials]
        strategy.tell([scored(trial, trial.genome[0], 1.0) for trial in trials])
    assert set(different[:4]) == {1}
    assert set(different[4:12]) <= {1, 2}
    assert max(different[28:]) == 5


class Recorder(RandomSearch):
    """A strategy that keeps what each level was given to learn."""

    learned: ClassVar[list[list[Outcome]]] = []

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        super().__init__(axes, seed, RandomSearch.Settings())

    def warm_start(self, known: Sequence[Outcome]) -> None:
        self.learned.append(list(known))


def test_a_level_starts_with_the_best_trials_of_the_previous_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(combinators, "build_inner", lambda _, axes, seed, __: Recorder(axes, seed))
    monkeypatch.setattr(Recorder, "learned", [])
    strategy = build("coarse-to-fine", LAYERED, 0, {"per_gene": 120})
    trials: list[Trial] = []
    for _ in range(2):
        trials += strategy.ask(120)
        outcomes = [failed(t) if t.number >= 120 else scored(t, -1 - t.number / 1000) for t in trials[-120:]]
        strategy.tell(outcomes)
    strategy.ask(1)
    (learned,) = Recorder.learned
    scores = [outcome.score for outcome in learned]
    assert scores == [-1 - number / 1000 for number in range(120)]  # all that did not fail


# ---- given points first, then a strategy that knows how they ended


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
