"""Random search and grid search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kingyo.core.types import Axis, Genome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import MAX_SIZE, BaseStrategy, Population, Size, require


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
    """Grid search for axes of every kind, shuffled by the seed, so that a few points cover the space.

    Float axes take ``points`` values from low to high; int axes the same, rounded; binary and categorical
    axes all their values. At the end of the grid, ``ask`` returns fewer trials, then none.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of grid search.

        Attributes:
            points: values per float or int axis, both bounds included.
            shuffle: shuffle the points; otherwise the first axis changes fastest.
            batch: trials to ask for at once.
        """

        points: Population = 5
        shuffle: bool = True
        batch: Size = 20

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings.batch)
        self._levels = [axis_levels(axis, settings.points) for axis in axes]
        size = math.prod(len(levels) for levels in self._levels)
        remedy = "Use fewer points per axis, fewer axes, or the strategy 'random'."
        require("grid", size, f"at most {MAX_SIZE} points", holds=size <= MAX_SIZE, remedy=remedy)
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


def axis_levels(axis: Axis, points: int) -> list[float]:
    if axis.kind in ("binary", "categorical"):
        return [float(value) for value in range(int(axis.low), int(axis.high) + 1)]
    step = (axis.high - axis.low) / (points - 1)
    values = [float(min(axis.high, axis.low + index * step)) for index in range(points)]
    if axis.kind == "int":
        values = [float(math.floor(value + 0.5)) for value in values]
    return sorted(set(values))


STRATEGIES.register("grid")(GridSearch)
