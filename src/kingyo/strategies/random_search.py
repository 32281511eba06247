"""Random search: each trial is uniform within the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kingyo.strategies import STRATEGIES, genes
from kingyo.strategies.checks import Size, check_search
from kingyo.strategies.history import History
from kingyo.types import Axis, Outcome, Trial


class RandomSearch:
    """Independent uniform samples, for axes of every kind; outcomes are ignored."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of random search.

        Attributes:
            batch: trials to ask for at once.
        """

        batch: Size = 20

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        self._batch = settings.batch
        self._rng = Random(seed)
        self._history = History()

    @property
    def batch(self) -> int:
        """Trials to ask for at once."""
        return self._batch

    def ask(self, n: int) -> list[Trial]:
        """Sample n trials."""
        return [self._history.ask(genes.random_point(self._axes, self._rng)) for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Check the outcomes; samples do not depend on them."""
        self._history.tell(outcomes)


STRATEGIES.register("random")(RandomSearch)
