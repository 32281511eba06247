"""Random search and grid search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from pydantic import Field

from kingyo.core.io.units import counted
from kingyo.core.types import Axis, Genome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import BaseStrategy, Population, Positive, Size, require


class RandomSearch(BaseStrategy):
    """Independent uniform samples, for axes of every kind; outcomes are ignored."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of random search.

        Attributes:
            batch: trials to ask for at once.
        """

        batch: Size = 20

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings.batch)
        self._rng = Random(seed)

    def ask(self, n: int) -> list[Trial]:
        return [self._history.ask(genes.random_point(self._axes, self._rng)) for _ in range(n)]


STRATEGIES.register("random")(RandomSearch)


class GridSearch(BaseStrategy):
    """Grid search for axes of every kind, in an order shuffled by the seed, or from low to high.

    The shuffle spreads the points, so that a small budget covers the space. Float axes take ``points`` values
    from low to high, or one every ``step``; int axes the same, rounded; binary and categorical axes all their
    values. At the end of the grid, ``ask`` returns fewer trials, then none.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of grid search.

        Attributes:
            points: values per float or int axis, both bounds included.
            step: distance between values, starting at low; overrides points.
            limit: most points of the grid.
            shuffle: shuffle the points; otherwise the first axis changes fastest.
            batch: trials to ask for at once.
        """

        points: Population = 5
        step: Positive | None = None
        limit: Annotated[int, Field(ge=1)] = 100_000
        shuffle: bool = True
        batch: Size = 20

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings.batch)
        self._levels = [axis_levels(axis, settings) for axis in axes]
        size = math.prod(len(levels) for levels in self._levels)
        received = f"{size} points on {counted(len(axes), 'axis', 'axes')}"
        remedy = "Use fewer points per axis, fewer axes, or the strategy 'random'."
        expected = f"at most {settings.limit} points"
        require("grid", received, expected, holds=size <= settings.limit, remedy=remedy)
        self._order = list(range(size))
        if settings.shuffle:
            Random(seed).shuffle(self._order)

    @property
    def size(self) -> int:
        return len(self._order)

    def ask(self, n: int) -> list[Trial]:
        start = self._history.count
        return [self._history.ask(self._point(index)) for index in self._order[start : start + n]]

    def _point(self, index: int) -> Genome:
        genome: list[float] = []
        for levels in self._levels:  # digits of the index in a mixed radix, one per axis
            index, digit = divmod(index, len(levels))
            genome.append(levels[digit])
        return tuple(genome)


def axis_levels(axis: Axis, settings: GridSearch.Settings) -> list[float]:
    width = axis.high - axis.low
    if axis.kind in ("binary", "categorical"):
        return [float(value) for value in range(int(axis.low), int(axis.high) + 1)]
    step = width / (settings.points - 1) if settings.step is None else settings.step
    expected = f"a step with at most {settings.limit} values on axis {axis.name}"
    require("step", f"{step} on a range of {width}", expected, holds=width / step <= settings.limit)
    count = math.floor(width / step + 1e-9) + 1  # 0.3 / 0.1 is a little below 3
    values = [float(min(axis.high, axis.low + index * step)) for index in range(count)]
    if axis.kind == "int":
        values = [float(math.floor(value + 0.5)) for value in values]
    return sorted(set(values))


STRATEGIES.register("grid")(GridSearch)
