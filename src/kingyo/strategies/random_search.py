"""Random search: every trial uniform within the bounds. The control that each other strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from kingyo.strategies import STRATEGIES, genes
from kingyo.strategies.checks import check_search, require_size
from kingyo.strategies.history import History, check_count
from kingyo.types import Axis, Outcome, Trial


class RandomSearch:
    """Independent uniform draws, for axes of every kind. It learns nothing from what it is told.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of random search."""

        batch: int = field(default=20, metadata={"doc": "how many trials to ask for at once"})

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        require_size("batch", settings.batch, 1)
        self._batch = settings.batch
        self._rng = Random(seed)
        self._history = History()

    @property
    def batch(self) -> int:
        """How many trials to ask for at once."""
        return self._batch

    def ask(self, n: int) -> list[Trial]:
        """Draw n trials."""
        check_count(n)
        return [self._history.ask(genes.random_point(self._axes, self._rng)) for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Check the outcomes; nothing is learned from them."""
        self._history.tell(outcomes)


STRATEGIES.register("random")(RandomSearch)
