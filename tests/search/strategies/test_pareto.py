"""Fronts, crowding and knee, against their definitions and, where it is there, pymoo."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.search.strategies.pareto import best_first, crowding, front, knee, ranks

# Few values, so that ties and copies are common.
CLOUDS = st.integers(1, 5).flatmap(
    lambda m: st.lists(st.lists(st.integers(0, 6), min_size=m, max_size=m), min_size=1, max_size=25)
)


def dominates(a: list[int], b: list[int]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


def peeled(points: list[list[int]]) -> list[int]:
    rank_of: dict[int, int] = {}
    number = 0
    while len(rank_of) < len(points):
        left = [i for i in range(len(points)) if i not in rank_of]
        free = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        rank_of.update(dict.fromkeys(free, number))
        number += 1
    return [rank_of[i] for i in range(len(points))]


@given(CLOUDS)
def test_ranks_are_the_fronts_peeled_off_one_by_one(points: list[list[int]]) -> None:
    expected = peeled(points)
    assert ranks(points).tolist() == expected
    assert front(points).tolist() == [i for i, rank in enumerate(expected) if rank == 0]


def test_crowding_is_the_papers() -> None:
    # Ranges 10 and 8; the neighbours of (4, 5) are (0, 8) and (6, 1).
    distances = crowding([(4, 5), (10, 0), (0, 8), (6, 1)])
    assert distances.tolist() == [6 / 10 + 7 / 8, math.inf, math.inf, (10 - 4) / 10 + 5 / 8]


def test_copies_are_crowded() -> None:
    assert crowding([(0, 2), (1, 1), (1, 1), (2, 0)]).tolist() == [math.inf, 2.0, 0.0, math.inf]
    assert crowding([(1, 1), (1, 1)]).tolist() == [math.inf, 0.0]
    assert crowding(np.empty((0, 2))).tolist() == []


def test_best_first_is_by_rank_then_the_less_crowded() -> None:
    points = [(1, 1), (5, 0), (0, 5), (4, 4), (4, 4), (4.5, 1)]
    order, classes = best_first(points)
    assert order.tolist() == [1, 2, 3, 5, 4, 0]
    assert classes.tolist() == [4, 0, 0, 1, 3, 2]


@given(CLOUDS)
def test_best_first_never_puts_a_point_before_one_that_dominates_it(points: list[list[int]]) -> None:
    order, classes = best_first(points)
    assert sorted(order.tolist()) == list(range(len(points)))
    assert (np.diff(classes[order]) >= 0).all()
    place = {int(index): i for i, index in enumerate(order)}
    for i, a in enumerate(points):
        assert all(place[i] < place[j] for j, b in enumerate(points) if dominates(a, b))


def test_knee_is_farthest_beyond_the_line_through_the_extremes() -> None:
    # Scaled: (0, 1), (0.4, 0.9), (0.7, 0.7), (1, 0); x + y is largest at the third.
    assert knee([(0, 100), (4, 90), (7, 70), (10, 0)]) == 2
    assert knee([(0, 100), (4, 99), (7, 50), (10, 0)]) == 1


def test_knee_of_small_fronts() -> None:
    assert knee([(3, 4)]) == 0
    assert knee([(1, 1), (3, 4), (2, 2)]) == 1  # one point dominates
    assert knee([(0, 1), (1, 0)]) == 1  # both are extreme: the best in the first objective
    assert knee([(0, 1), (0.1, 0.2), (1, 0)]) == 2, "the front is hollow"
    assert knee([(1, 0), (0.5, 0.5), (0, 1)]) == 1  # a straight front: the even compromise
    assert knee([(1, 0), (0.1, 0.1), (0, 1)]) == 0  # hollow: an extreme point
    assert knee([[1], [5], [2]]) == 1
    with pytest.raises(KingyoError, match="at least one"):
        knee([])


def test_knee_in_three_dimensions() -> None:
    extremes = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert knee([*extremes, (0.4, 0.4, 0.4), (0.6, 0.1, 0.6)]) == 4
    assert knee([*extremes, (0.5, 0.5, 0.5), (0.6, 0.1, 0.6)]) == 3
    assert knee([(*point, 7) for point in [*extremes, (0.5, 0.5, 0.5)]]) == 3  # one without a range


@pytest.mark.parametrize("points", [[1.0, 2.0], [[1.0, math.nan]], [[math.inf]]])
def test_only_tables_of_finite_numbers_are_accepted(points: list[object]) -> None:
    for function in (ranks, front, crowding, best_first, knee):
        with pytest.raises(KingyoError, match="finite numbers"):
            function(points)
