"""Weights of chosen sources, and the changes of them that stepwise selection compares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from kingyo.types import Axis, Genome

LONGEST = 2.0
"""Greatest length of a sum of task vectors of length 1, if they are unrelated and the scale is 1."""
SCALES, HALF = (0.7, 1.4), 0.5
"""Other weights: factors of all, and the share of a weight for an addition."""


class WeightChange(NamedTuple):
    """Sources that are added or get another share of a weight, and the scale of all weights."""

    sources: tuple[int, ...]
    scale: float
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The chosen sources with their weights.

    One source has weight 1, k sources have scale · min(1, 2 / √k) each; shares change the weights of single
    sources.
    """

    axes: tuple[Axis, ...]
    chosen: tuple[int, ...] = ()
    scale: float = 1.0
    shares: Mapping[int, float] = field(default_factory=dict[int, float])

    def genome(self, sources: Sequence[int] | None = None) -> Genome:
        """Return the genome that merges some sources, or the chosen ones."""
        on = self.chosen if sources is None else sources
        is_sum = len(on) > 1
        weight = self.scale * self._shrinkage(on) if is_sum else 1.0
        return tuple(
            min(axis.high, round(weight * (self.shares.get(i, 1.0) if is_sum else 1.0), 3))
            if i in on
            else (axis.low if axis.neutral is None else axis.neutral)
            for i, axis in enumerate(self.axes)
        )

    def _shrinkage(self, sources: Sequence[int]) -> float:
        """Return the factor of weights that keeps a sum of unrelated task vectors short."""
        length = math.sqrt(math.fsum(self.shares.get(i, 1.0) ** 2 for i in sources))
        return min(1.0, LONGEST / max(length, 1e-9))

    def changed(self, change: WeightChange) -> Weights:
        """Return the weights after a change."""
        added = tuple(i for i in change.sources if i not in self.chosen)
        shares = {**self.shares, **dict.fromkeys(change.sources, change.share)}
        return replace(self, chosen=(*self.chosen, *added), scale=change.scale, shares=shares)

    def without(self, source: int) -> Weights:
        """Return the other chosen sources with the weights that they have."""
        rest = tuple(i for i in self.chosen if i != source)
        scale = self.scale * self._shrinkage(self.chosen) / self._shrinkage(rest)
        return replace(self, chosen=rest, scale=scale)

    def adds(self, change: WeightChange) -> bool:
        """Return whether a change adds a source."""
        return not set(change.sources) <= set(self.chosen)

    def additions(self, sources: Iterable[int]) -> list[WeightChange]:
        """Return the addition of each of some sources."""
        return [WeightChange((source,), self.scale) for source in sources]

    def others(self, sources: Iterable[int]) -> list[WeightChange]:
        """Return other weights: some sources by half, and other scales of all."""
        halves = [WeightChange((source,), self.scale, HALF) for source in sources]
        return [*halves, *(WeightChange((), round(self.scale * factor, 3)) for factor in SCALES)]
