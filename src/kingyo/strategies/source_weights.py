"""Weights of chosen sources, and the changes of them that stepwise selection compares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kingyo.types import Axis, Genome

LONGEST = 2.0
"""Greatest length of a sum of task vectors of length 1, if they are unrelated and the scale is 1."""
TRIM = 0.25
"""Share of the parts that a merge leaves out at first."""
TRIMS = (0.0, 0.125, 0.25, 0.375, 0.5)
"""Shares to try."""


class WeightChange(NamedTuple):
    """Sources that are added, and another share of parts to leave out; None: the same parts as now."""

    sources: tuple[int, ...]
    trim: float | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The chosen sources with their weights.

    One source has weight 1, k sources have scale · min(1, 2 / √k) each. A part is the task vector of a source
    in one span of layers, with a weight of its own. A merge of several sources leaves out parts with a norm
    below that of a share of the parts of the chosen sources; the largest part of a source always stays.

    Attributes:
        axes: by source, then by span.
        norms: norm of each part, one row per source; empty: one span.
        chosen: sources, in the order in which they were added.
        scale: factor of all weights.
        trim: this share.
        least_norm: norm below which a part is left out.
    """

    axes: tuple[Axis, ...]
    norms: tuple[tuple[float, ...], ...] = ()
    chosen: tuple[int, ...] = ()
    scale: float = 1.0
    trim: float = TRIM
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
        weights = replace(self, chosen=(*self.chosen, *change.sources))
        return weights if change.trim is None else replace(weights, trim=change.trim).trimmed()

    def trimmed(self) -> Weights:
        """Return the weights that leave out the share of the parts of all chosen sources."""
        norms = sorted(norm for source in self.chosen for norm in self._norms_of(source) if norm > 0)
        return replace(self, least_norm=norms[round(self.trim * len(norms))] if norms else 0.0)

    def without(self, source: int) -> Weights:
        """Return the other chosen sources with the weights that they have."""
        rest = tuple(i for i in self.chosen if i != source)
        scale = self.scale * _shrinkage(len(self.chosen)) / _shrinkage(len(rest))
        return replace(self, chosen=rest, scale=scale)

    def additions(self, sources: Iterable[int]) -> list[WeightChange]:
        """Return the addition of each of some sources."""
        return [WeightChange((source,)) for source in sources]

    def other_trims(self) -> list[WeightChange]:
        """Return the merges of the chosen sources that leave out another share of parts."""
        return self._that_differ([self], [WeightChange((), trim) for trim in TRIMS])

    def whole_additions(self, sources: Iterable[int]) -> list[WeightChange]:
        """Return the addition of each of some sources to a merge that leaves out nothing."""
        additions = self.additions(sources)
        own = [self.changed(change) for change in additions]
        return self._that_differ(own, [change._replace(trim=0.0) for change in additions])

    def _that_differ(self, known: Iterable[Weights], changes: Iterable[WeightChange]) -> list[WeightChange]:
        """Return changes to merges that differ from known ones and from one another."""
        found = {weights.genome() for weights in known}
        differ: list[WeightChange] = []
        for change in changes:
            genome = self.changed(change).genome()
            if genome not in found:
                found.add(genome)
                differ.append(change)
        return differ

    def _norms_of(self, source: int) -> tuple[float, ...]:
        return self.norms[source] if self.norms else (0.0,)

    def _is_kept(self, source: int, span: int) -> bool:
        """Return whether a merge has a part; one of norm 0 makes no difference."""
        norms = self._norms_of(source)
        return norms[span] == 0 or norms[span] >= min(self.least_norm, max(norms))


def _shrinkage(n: int) -> float:
    """Return the factor of n weights that keeps a sum of unrelated task vectors short."""
    return min(1.0, LONGEST / math.sqrt(n)) if n else 1.0
