"""Random search: each trial is uniform within the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kingyo.core.types import Axis, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.checks import Size
from kingyo.search.strategies.history import BaseStrategy


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
