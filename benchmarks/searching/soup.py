"""A greedy soup as a strategy: sources by their own scores, each kept if the average is not worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.core.types import Axis, Genome, Trial
from kingyo.search.strategies.base import BaseStrategy


class GreedySoup(BaseStrategy):
    """Greedy soup of Wortsman et al. 2022, Model soups. One axis per source: 1 keeps it, 0 leaves it out."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """No options."""

    def __init__(self, axes: Sequence[Axis], seed: int, _settings: Settings) -> None:
        super().__init__(axes, seed, batch=len(axes))
        self._scores: dict[Genome, float] = {}
        self._order: list[int] | None = None
        self._soup: list[int] = []
        self._next = 0

    @property
    def batch(self) -> int:
        """All sources first, then one soup at a time."""
        return len(self._axes) if self._history.count == 0 else 1

    def ask(self, n: int) -> list[Trial]:
        """Propose the sources, then the soup with the next of them; none when all were tried."""
        for observation in self._history.take_all():
            self._scores[observation.genome] = -1.0 if observation.score is None else observation.score
        if self._history.count == 0:
            return [self._history.ask(self._genome([i])) for i in range(len(self._axes))][:n]
        if self._order is None:
            self._order = sorted(range(len(self._axes)), key=lambda i: (-self._scores[self._genome([i])], i))
            self._soup, self._next = self._order[:1], 1
        elif (
            self._scores[self._genome([*self._soup, self._order[self._next]])]
            >= self._scores[self._genome(self._soup)]
        ):
            self._soup, self._next = [*self._soup, self._order[self._next]], self._next + 1
        else:
            self._next += 1
        if self._next >= len(self._order):
            return []
        return [self._history.ask(self._genome([*self._soup, self._order[self._next]]))]

    def _genome(self, sources: Sequence[int]) -> Genome:
        return tuple(float(i in sources) for i in range(len(self._axes)))
