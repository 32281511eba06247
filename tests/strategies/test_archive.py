"""The archive's rules, by cases computed by hand."""

from __future__ import annotations

import itertools
import math

import pytest

from kingyo.errors import KingyoError
from kingyo.strategies.archive import Archive, Elite, GridAxis, coverage

UNIT = GridAxis(low=0.0, high=1.0, cells=4)


def elite(number: int, quality: float, *, estimate: bool = False) -> Elite:
    return Elite(number=number, genome=(0.5,), objectives=(quality,), quality=quality, is_estimate=estimate)


@pytest.mark.parametrize(
    ("value", "cell"),
    [(0.0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.9999, 3), (1.0, 3), (-7.0, 0), (7.0, 3)],
)
def test_cells_contain_their_lower_end_and_the_outer_ones_all_beyond(value: float, cell: int) -> None:
    assert UNIT.cell(value) == cell


@pytest.mark.parametrize("cells", [3, 7, 10, 15, 50, 100])
def test_a_share_on_a_border_belongs_to_the_upper_cell(cells: int) -> None:
    side = GridAxis(low=0.0, high=1.0, cells=cells)
    assert [side.cell(right / cells) for right in range(cells)] == list(range(cells))


def test_the_better_takes_the_cell_and_an_equal_one_does_not() -> None:
    archive = Archive([UNIT])
    assert archive.offer((0.1,), elite(0, 0.5))
    assert not archive.offer((0.2,), elite(1, 0.4))
    assert not archive.offer((0.2,), elite(2, 0.5))
    assert archive.offer((0.2,), elite(3, 0.6))
    assert archive.offer((0.3,), elite(4, 0.1))
    assert [member.number for member in archive.elites] == [3, 4]


def test_an_estimate_never_ousts_a_measured_elite_and_does_not_count() -> None:
    archive = Archive([UNIT])
    assert archive.offer((0.1,), elite(0, 0.9, estimate=True))
    assert [member.number for member in archive.members] == [0]
    assert (archive.elites, archive.qd_score) == ((), 0.0)
    assert archive.offer((0.1,), elite(1, 0.2))
    assert not archive.offer((0.1,), elite(2, 1.0, estimate=True))
    assert [member.number for member in archive.members] == [1]
    assert archive.offer((0.6,), elite(3, 0.3, estimate=True))
    assert archive.offer((0.6,), elite(4, 0.4, estimate=True))
    assert [member.number for member in archive.members] == [1, 4]
    assert (len(archive.elites), archive.qd_score) == (1, 0.2)


def test_figures() -> None:
    archive = Archive([UNIT, UNIT])
    assert archive.size == 16
    for number, (behaviour, quality) in enumerate(
        {(0.0, 0.0): 0.5, (0.9, 0.1): 0.75, (0.1, 0.1): 0.25}.items()
    ):
        archive.offer(behaviour, elite(number, quality))
    assert len(archive.elites) == 2
    assert archive.qd_score == 1.25


def test_without_sides_there_is_one_cell() -> None:
    archive = Archive([])
    archive.offer((), elite(0, 0.5))
    assert (archive.size, len(archive.elites)) == (1, 1)


def test_the_order_of_offers_does_not_matter() -> None:
    offers = [
        (0.1, elite(0, 0.5)),
        (0.2, elite(1, 0.5)),
        (0.2, elite(2, 0.9, estimate=True)),
        (0.7, elite(3, 0)),
    ]
    archives: list[tuple[Elite, ...]] = []
    for order in itertools.permutations(offers):
        archive = Archive([UNIT])
        for place, each in order:
            archive.offer((place,), each)
        archives.append(archive.members)
    assert len(set(archives)) == 1
    assert [member.number for member in archives[0]] == [0, 3]


def test_coverage_of_points() -> None:
    assert coverage([], 5) == 0.0
    assert coverage([(0.1, 0.1), (0.2, 0.2), (0.9, 0.9)], 2) == 2 / 4
    assert coverage([(0.1,), (0.2,), (0.6,), (1.0,)], 4) == 3 / 4
    assert math.isclose(coverage([(i / 9, j / 9) for i in range(10) for j in range(10)], 9), 1.0)
    assert coverage([(5.0, 5.0), (9.0, 5.0)], 2, low=0.0, high=10.0) == 1 / 4


@pytest.mark.parametrize(
    ("points", "cells", "low", "message"),
    [
        ([(0.1,), (0.1, 0.2)], 5, 0.0, "points: expected the same number"),
        ([(0.1,)], 0, 0.0, "cells: expected 1 or more"),
        ([(0.1,)], 5, 1.0, "low < high"),
    ],
)
def test_coverage_refuses(points: list[tuple[float, ...]], cells: int, low: float, message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        coverage(points, cells, low=low)
