"""The grid archive of MAP-Elites (Mouret and Clune 2015): the best elite of each cell.

The content depends on the set of offered elites, not on their order.
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
    """A trial that may be the best of its cell.

    Attributes:
        number: number of the trial.
        genome: genome of the trial.
        objectives: one number per objective.
        quality: the number that a cell maximises.
        is_estimate: True if only some items were scored. An estimate holds a cell only until a measured elite
            falls into it, so that a lucky draw of items displaces no measured elite.
    """

    number: int
    genome: Genome
    objectives: tuple[float, ...]
    quality: float
    is_estimate: bool = False

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Sort key, higher is better: measured before estimated, then quality, then the earlier trial."""
        return not self.is_estimate, self.quality, -self.number


@dataclass(frozen=True, kw_only=True)
class GridAxis:
    """One axis of a grid: ``cells`` intervals of equal width from ``low`` to ``high``."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        """Return the index of the interval that contains a value; outside values go to the end intervals.

        An interval contains its lower end. Scores often lie exactly on one (29 of 50), so the index is
        rounded to 9 decimals before the floor: floating-point error must not move such a score one cell down.
        """
        index = (value - self.low) / (self.high - self.low) * self.cells
        return math.floor(round(min(max(index, 0.0), self.cells - 1.0), 9))


class Archive:
    """The best elite of each cell of a grid.

    Args:
        sides: axes of the grid; an empty sequence makes a single cell.

    Example:
        >>> archive = Archive([GridAxis(low=0.0, high=1.0, cells=10)])
        >>> archive.offer([0.29], Elite(number=0, genome=(0.5,), objectives=(0.29,), quality=0.7))
        True
        >>> len(archive.elites), archive.size
        (1, 10)
    """

    def __init__(self, axes: Sequence[GridAxis]) -> None:
        self._axes = tuple(axes)
        self._elites: dict[Cell, Elite] = {}

    @property
    def size(self) -> int:
        """Number of cells, filled or empty."""
        return math.prod(axis.cells for axis in self._axes)

    def offer(self, behaviour: Sequence[float], elite: Elite) -> bool:
        """Insert an elite if it is better than the holder of its cell.

        Args:
            behaviour: one number per axis of the grid.
            elite: the candidate.

        Returns:
            Whether the elite was inserted.
        """
        cell = tuple(axis.cell(value) for axis, value in zip(self._axes, behaviour, strict=True))
        holder = self._elites.get(cell)
        if holder is not None and holder.rank >= elite.rank:
            return False
        self._elites[cell] = elite
        return True

    @property
    def members(self) -> tuple[Elite, ...]:
        """All elites, estimates included, in the order of cells; parents are picked from these."""
        return tuple(self._elites[cell] for cell in sorted(self._elites))

    @property
    def elites(self) -> tuple[Elite, ...]:
        """Elites that were scored on all items, in the order of cells."""
        return tuple(member for member in self.members if not member.is_estimate)

    @property
    def qd_score(self) -> float:
        """Sum of the qualities of measured elites (QD score); meaningful only if no quality is negative."""
        return math.fsum(elite.quality for elite in self.elites)


def coverage(points: Iterable[Sequence[float]], cells: int, low: float = 0.0, high: float = 1.0) -> float:
    """Return the share of grid cells that contain a point.

    Args:
        points: objectives of trials, all of the same length; without points the coverage is 0.
        cells: intervals per axis, 1 or more.
        low: lower end of each axis.
        high: upper end of each axis.

    Raises:
        KingyoError: points of different lengths, fewer than one cell, or ``low`` not below ``high``.
    """
    rows = [tuple(point) for point in points]
    _check_grid(rows, cells, low, high)
    if not rows:
        return 0.0
    axis = GridAxis(low=low, high=high, cells=cells)
    return len({tuple(map(axis.cell, row)) for row in rows}) / cells ** len(rows[0])


def _check_grid(points: Sequence[tuple[float, ...]], cells: int, low: float, high: float) -> None:
    lengths, remedy = sorted({len(point) for point in points}), "Correct the call of `coverage`."
    same = len(lengths) < 2
    require("points", lengths, "the same number of objectives in each", holds=same, remedy=remedy)
    require("cells", cells, "1 or more", holds=cells >= 1, remedy=remedy)
    require("low, high", (low, high), "low < high", holds=low < high, remedy=remedy)
