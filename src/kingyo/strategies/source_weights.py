"""Weights of chosen sources, and the changes of them that stepwise selection compares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kingyo.types import Axis, Genome

LONGEST = 2.0
"""Greatest length of a sum of task vectors of length 1, if they are unrelated and the scale is 1."""
TRIMS = (0.125, 0.25, 0.375, 0.5)
"""Shares of the parts to leave out."""
TRIM_OF_ADDITIONS = 0.25
"""The share that is left out with an addition."""


class WeightChange(NamedTuple):
    """Sources that are added, and the norm below which parts are left out; see ``Weights``."""

    sources: tuple[int, ...]
    least_norm: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The chosen sources with their weights.

    One source has weight 1, k sources have scale · min(1, 2 / √k) each. A part is the task vector of a source
    in one span of layers, with a weight of its own. A merge of several sources leaves out parts with a small
    norm, also of sources that are added later; the largest part of a source always stays.

    Attributes:
        axes: by source, then by span.
        norms: norm of each part, one row per source; empty: one span.
        chosen: sources, in the order in which they were added.
        scale: factor of all weights.
        least_norm: norm below which a part is left out.
    """

    axes: tuple[Axis, ...]
    norms: tuple[tuple[float, ...], ...] = ()
    chosen: tuple[int, ...] = ()
    scale: float = 1.0
    least_norm: float = 0.0

    @property
    def n_spans(self) -> int:
        """Number of weights of each source."""
        return len(self.norms[0]) if self.norms else 1

    @property
    def n_sources(self) -> int:
        """Number of all sources."""
        return len(self.axes) // self.n_spans

    def genome(self, sources: Sequence[int] | None = None) -> Genome:
        """Return the genome that merges some sources, or the chosen ones."""
        on = self.chosen if sources is None else sources
        weight = round(self.scale * _shrinkage(len(on)), 3) if len(on) > 1 else 1.0
        genes: list[float] = []
        for i, axis in enumerate(self.axes):
            source, span = divmod(i, self.n_spans)
            is_on = source in on and (len(on) == 1 or self._is_kept(source, span))
            neutral = axis.low if axis.neutral is None else axis.neutral
            genes.append(min(axis.high, weight) if is_on else neutral)
        return tuple(genes)

    def of(self, source: int) -> Genome:
        """Return the weights of a source, by span."""
        return self.genome()[source * self.n_spans : (source + 1) * self.n_spans]

    def changed(self, change: WeightChange) -> Weights:
        """Return the weights after a change."""
        return replace(self, chosen=(*self.chosen, *change.sources), least_norm=change.least_norm)

    def without(self, source: int) -> Weights:
        """Return the other chosen sources with the weights that they have."""
        rest = tuple(i for i in self.chosen if i != source)
        scale = self.scale * _shrinkage(len(self.chosen)) / _shrinkage(len(rest))
        return replace(self, chosen=rest, scale=scale)

    def additions(self, sources: Iterable[int]) -> list[WeightChange]:
        """Return the addition of each of some sources."""
        return [WeightChange((source,), self.least_norm) for source in sources]

    def trims(self) -> list[WeightChange]:
        """Return other least norms for the chosen sources."""
        return self._other([WeightChange((), self._least_norm(self.chosen, share)) for share in TRIMS])

    def trimmed_additions(self, sources: Iterable[int]) -> list[WeightChange]:
        """Return the addition of each of some sources with another least norm."""
        return self._other(
            [
                WeightChange((source,), self._least_norm((*self.chosen, source), TRIM_OF_ADDITIONS))
                for source in sources
            ]
        )

    def _other(self, changes: Iterable[WeightChange]) -> list[WeightChange]:
        """Return the changes that leave out other parts than now."""
        return [
            change
            for change in dict.fromkeys(changes)
            if self.changed(change).genome() != self.genome([*self.chosen, *change.sources])
        ]

    def _least_norm(self, sources: Sequence[int], share: float) -> float:
        """Return the norm below which a share of the parts of some sources lies; 0 if norms are not known."""
        if not self.norms:
            return 0.0
        norms = sorted(norm for source in sources for norm in self.norms[source] if norm > 0)
        return norms[round(share * len(norms))] if norms else 0.0

    def _is_kept(self, source: int, span: int) -> bool:
        """Return whether a merge has a part; one of norm 0 makes no difference."""
        norms = self.norms[source] if self.norms else (0.0,)
        return norms[span] == 0 or norms[span] >= min(self.least_norm, max(norms))


def _shrinkage(n: int) -> float:
    """Return the factor of n weights that keeps a sum of unrelated task vectors short."""
    return min(1.0, LONGEST / math.sqrt(n)) if n else 1.0
