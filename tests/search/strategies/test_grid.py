"""The grid is complete, in the order that spreads, and refuses to be endless."""

import itertools

import pytest

from kingyo.core.types import Axis
from kingyo.errors import KingyoError
from kingyo.search.strategies.random_and_grid import GridSearch, axis_levels
from kingyo.testing.strategies import MIXED_AXES
from tests.search.strategies.problems import floats

Settings = GridSearch.Settings


@pytest.mark.parametrize(
    ("axis", "points", "levels"),
    [
        (Axis(name="x", low=0, high=1), 5, [0, 0.25, 0.5, 0.75, 1]),
        (Axis(name="x", low=-1, high=1), 2, [-1, 1]),
        (Axis(name="n", low=0, high=10, kind="int"), 5, [0, 3, 5, 8, 10]),
        (Axis(name="n", low=2, high=4, kind="int"), 9, [2, 3, 4]),
        (Axis(name="b", low=0, high=1, kind="binary"), 5, [0, 1]),
        (Axis(name="c", low=0, high=2, kind="categorical", choices=tuple("abc")), 5, [0, 1, 2]),
    ],
)
def test_levels(axis: Axis, points: int, levels: list[float]) -> None:
    assert axis_levels(axis, points) == pytest.approx(levels)


def test_every_point_once_then_none() -> None:
    grid = GridSearch(MIXED_AXES, 0, Settings(points=3))
    trials = [*grid.ask(100), *grid.ask(1000)]
    everything = itertools.product(*(axis_levels(axis, 3) for axis in MIXED_AXES))
    assert sorted(trial.genome for trial in trials) == sorted(everything)
    assert len(trials) == grid.size == 3 * 3 * 3 * 2 * 3
    assert grid.ask(5) == []


def test_a_reduced_grid_spans_the_space() -> None:
    """The first tenth has all levels of every axis, about equally often."""
    for seed in range(5):
        part = GridSearch(floats(4), seed, Settings()).ask(62)
        for place in range(4):
            genes = [trial.genome[place] for trial in part]
            assert all(4 <= genes.count(level) <= 24 for level in (0, 0.25, 0.5, 0.75, 1))


def test_too_many_points_are_refused_with_their_number() -> None:
    with pytest.raises(KingyoError, match="at most 100000 points; received 9765625"):
        GridSearch(floats(10), 0, Settings())
