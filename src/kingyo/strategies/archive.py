"""A grid of niches that keeps the best of each: the archive of MAP-Elites (Mouret and Clune 2015).

What it holds depends on the set of elites that it was offered, not on their order, and it lists them by cell:
so a search may fill it whenever it likes. It knows no strategy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kingyo.strategies.checks import require
from kingyo.types import Genome

Cell = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Elite:
    """A trial that may be the best of its niche.

    Attributes:
        number, genome: of the trial.
        objectives: one number per task.
        quality: what its niche keeps the best of.
        is_estimate: only some items were scored. It holds a niche only while nobody who was measured does: a
            lucky draw of few items must not oust a measured elite.
    """

    number: int
    genome: Genome
    objectives: tuple[float, ...]
    quality: float
    is_estimate: bool = False

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Higher stays: measured before estimated, then quality, then the earlier trial."""
        return not self.is_estimate, self.quality, -self.number


@dataclass(frozen=True, kw_only=True)
class Side:
    """One axis of a grid: ``cells`` intervals of equal width from low to high."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        """Index of the interval that holds a value; what lies beyond the ends belongs to the last ones.

        An interval holds its lower end. A share of right answers often lies on one (29 of 50), where
        the rounding of a product must not decide: a billionth below counts as on it.
        """
        place = (value - self.low) / (self.high - self.low) * self.cells
        return math.floor(round(min(max(place, 0.0), self.cells - 1.0), 9))


class Archive:
    """The best elite of every cell.

    Args:
        sides: the axes of the grid; without any there is one cell.
    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = tuple(sides)
        self._niches: dict[Cell, Elite] = {}

    @property
    def size(self) -> int:
        """How many cells there are, filled or not."""
        return math.prod(side.cells for side in self._sides)

    def offer(self, behaviour: Sequence[float], elite: Elite) -> bool:
        """Let an elite compete for the cell of its behaviour; true when it has it now."""
        cell = tuple(side.cell(value) for side, value in zip(self._sides, behaviour, strict=True))
        holder = self._niches.get(cell)
        if holder is not None and holder.rank >= elite.rank:
            return False
        self._niches[cell] = elite
        return True

    @property
    def members(self) -> tuple[Elite, ...]:
        """All that hold a cell, estimates too: those who may have children. In the order of their cells."""
        return tuple(self._niches[cell] for cell in sorted(self._niches))

    @property
    def elites(self) -> tuple[Elite, ...]:
        """The members that were measured on all items: those to report."""
        return tuple(member for member in self.members if not member.is_estimate)

    @property
    def qd_score(self) -> float:
        """Sum of the qualities of the measured elites; it means something where no quality is negative."""
        return math.fsum(elite.quality for elite in self.elites)


def coverage(points: Iterable[Sequence[float]], cells: int, low: float = 0.0, high: float = 1.0) -> float:
    """Share of the cells of a grid that hold a point: how much ground any search has covered.

    Args:
        points: objectives of trials, all of the same length; 0 without any point.
        cells: intervals per axis, 1 or more.
        low, high: the ends of every axis.

    Raises:
        KingyoError: points of different lengths, less than one cell, low not below high.
    """
    every = [tuple(point) for point in points]
    _check_grid(every, cells, low, high)
    if not every:
        return 0.0
    side = Side(low=low, high=high, cells=cells)
    return len({tuple(map(side.cell, point)) for point in every}) / cells ** len(every[0])


def _check_grid(points: Sequence[tuple[float, ...]], cells: int, low: float, high: float) -> None:
    lengths, mend = sorted({len(point) for point in points}), "Correct the call of `coverage`."
    require("points", lengths, "the same number of objectives in each", holds=len(lengths) < 2, remedy=mend)
    require("cells", cells, "1 or more", holds=cells >= 1, remedy=mend)
    require("low, high", (low, high), "low < high", holds=low < high, remedy=mend)
