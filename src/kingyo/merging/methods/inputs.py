"""What methods get for one tensor: random keys, the cache of statistics, and inputs that can be described."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from kingyo.merging.kernels import BernoulliMask, Mask, Threshold, WeightedSum, weighted_sum
from kingyo.merging.kernels.blocks import Line
from kingyo.merging.kernels.masks import N_VALUES, Ranks, key_of
from kingyo.merging.kernels.order_statistics import (
    count_varied,
    largest,
    most_varied,
    row_ranks,
    size_counts,
    size_order,
    threshold_of,
)
from kingyo.merging.kernels.raw_tensor import AnyTensor
from kingyo.merging.kernels.statistics import (
    Floats,
    energies,
    gram,
    kept_by_density,
    kept_magnitudes,
    line_grams,
    magnitude,
    magnitudes_by_draw,
    rescaling_factor,
)
from kingyo.merging.kernels.statistics_cache import Statistic, TensorStats

Vectors = Literal["sources", "task vectors", "base and sources"]
"""θ₁, θ₂, …; or θ₁ - θ₀, θ₂ - θ₀, …; or θ₀, θ₁, θ₂, …"""
_GRAMS = {"sources": "gram of the tensors", "task vectors": "gram", "base and sources": "gram with base"}
_MAX_ORDERED = 1 << 24  # entries; sorting more takes too much memory


@dataclass(slots=True)
class TensorContext:
    """The context of one tensor's merge: keys of random numbers, and statistics of earlier candidates."""

    seed: int = 0  # the recipe's
    tensor: str = ""  # its name
    stats: TensorStats | None = None  # the cache of statistics; None disables it
    sources: Sequence[str] = ()  # cache keys of the sources' weights, in the order of the sources
    base: str | None = None  # cache key of the base's weights
    _own: set[str] = field(default_factory=set[str], init=False)

    def key(self, source: int) -> tuple[int, int]:
        """Return the key of a source's random numbers."""
        return key_of(self.seed, source, self.tensor)

    def get_or_compute(
        self, what: str, sources: Sequence[int], compute: Callable[[], Statistic]
    ) -> Statistic:
        """Return a statistic of some sources (and the base), from the cache or computed now.

        ``what`` is its name, with every number that it depends on.
        """
        if self.stats is None:
            return compute()
        name = self._name(what, sources)
        statistic = self.stats.get(name)
        if statistic is None:
            statistic = compute()
            self.stats.put(name, statistic)
            self._own.add(name)
        return statistic

    def get(self, what: str, sources: Sequence[int]) -> Statistic | None:
        """Return a statistic that an earlier candidate computed, or None; later ones may need it too then."""
        if self.stats is None:
            return None
        name = self._name(what, sources)
        return None if name in self._own else self.stats.get(name)

    def has_room(self, n_bytes: int) -> bool:
        """Return whether the cache has room for a statistic of this size without dropping others."""
        return self.stats is not None and self.stats.has_room(n_bytes)

    def _name(self, what: str, sources: Sequence[int]) -> str:
        return "\n".join((what, self.tensor, self.base or "", *(self.sources[i] for i in sources)))


class MergeInputs:
    """One tensor of each source and of the base, for methods that describe their result.

    It gives shape and statistics of the tensors, which are cached across candidates, but not their numbers.
    """

    __slots__ = ("_context", "base", "numel", "shape", "sources")

    def __init__(self, sources: Sequence[AnyTensor], base: AnyTensor | None, context: TensorContext) -> None:
        self.sources = sources
        self.base = base
        self._context = context
        self.shape = tuple(sources[0].shape)
        self.numel = math.prod(self.shape)

    def key(self, source: int) -> tuple[int, int]:
        return self._context.key(source)

    def weighted_sum(self, factors: Sequence[float], vectors: Vectors) -> WeightedSum:
        """Return the sum with one factor per vector; the sum of task vectors is added to the base.

        Vectors with the factor 0 are left out, unless all are: 0 · θ changes the sign of a zero.
        """
        tensors, base = self._tensors(vectors)
        kept = [i for i, factor in enumerate(factors) if factor] or range(len(factors))
        return weighted_sum([tensors[i] for i in kept], [factors[i] for i in kept], base)

    def inner_products(self, vectors: Vectors) -> Floats:
        """Return the inner products of vectors: float64, shape (vectors, vectors)."""
        return self._of_all(_GRAMS[vectors], lambda: gram(*self._tensors(vectors)))

    def line_products(self, vectors: Vectors, line: Line) -> Floats:
        """Return the inner products per row or column: float64, shape (vectors, vectors, lines)."""
        name = f"{_GRAMS[vectors]}, by {line}"
        return self._of_all(name, lambda: line_grams(*self._tensors(vectors), line))

    def rescalings(self, masks: Mapping[int, Mask]) -> dict[int, float]:
        """Return Σ|δ| / Σ|mδ| by source, which keeps the sum of magnitudes; 1 if Σ|mδ| is 0."""
        totals = {i: self._magnitude(i) for i in masks}
        kept = {i: self._kept_by_density(i, mask, totals[i]) for i, mask in masks.items()}
        rest = [i for i, part in kept.items() if part is None]
        if rest:
            sources, own_masks = [self.sources[i] for i in rest], [masks[i] for i in rest]
            parts = kept_magnitudes(sources, self._known_base, own_masks, [totals[i] for i in rest])
            kept.update(zip(rest, parts, strict=True))
        return {i: rescaling_factor(totals[i], part) for i, part in kept.items() if part is not None}

    def _magnitude(self, source: int) -> float:
        theta, base = self.sources[source], self._known_base
        return float(self._of_one("magnitude", source, lambda: np.array([magnitude(theta, base)]))[0])

    def _kept_by_density(self, source: int, mask: Mask, total: float) -> float | None:
        """Return the kept magnitude from sums for every density; None if they are not worth it."""
        if not isinstance(mask, BernoulliMask) or not self.numel:
            return None
        theta, base = self.sources[source], self._known_base
        sums = self._if_room(
            f"magnitudes by draw {mask.key}",
            source,
            8 * N_VALUES,
            lambda: magnitudes_by_draw(theta, base, mask.key, total),
            after="magnitude",
        )
        return None if sums is None else kept_by_density(sums, mask)

    def largest(self, source: int, count: int) -> Threshold:
        """Return the threshold of the ``count`` largest magnitudes of a task vector; of equal ones the first.

        The histogram of magnitudes is cached. From the second candidate on the sorted order is cached too, if
        there is room; it gives every threshold at once.
        """
        theta, base = self.sources[source], self._known_base
        if 0 < self.numel <= _MAX_ORDERED:
            order = self._if_room(
                "order", source, 4 * self.numel, lambda: size_order(theta, base), after="sizes"
            )
            if order is not None:
                return threshold_of(theta, base, order, count)
        return largest(
            theta, base, count, lambda: self._of_one("sizes", source, lambda: size_counts(theta, base))
        )

    def row_ranks(self, source: int) -> Ranks:
        """Return the rank of each entry's magnitude in its row, flat; cached if there is room."""
        theta, base = self.sources[source], self._known_base
        ranks = self._if_room("row ranks", source, 4 * self.numel, lambda: row_ranks(theta, base))
        return row_ranks(theta, base) if ranks is None else ranks

    def count_varied(self) -> int:
        return int(self._of_all("varied", lambda: np.array([count_varied(self.sources)]))[0])

    def most_varied(self, count: int) -> Threshold:
        """Return the threshold of the ``count`` largest variances over the task vectors."""

        def compute() -> Floats:
            threshold = most_varied(self.sources, self._known_base, count)
            return np.array([threshold.least, threshold.before], dtype=np.float64)

        least, before = self._of_all(f"most varied {count}", compute)
        return Threshold(least=float(least), before=int(before))

    def energies(self, selected: Threshold | None) -> Floats:
        """Return Σ δ² of each source over entries selected by their variance; None selects all."""
        which = "all" if selected is None else f"{selected.least!r} {selected.before}"
        return self._of_all(
            f"energies of {which}", lambda: energies(self.sources, self._known_base, selected)
        )

    @property
    def _known_base(self) -> AnyTensor:
        assert self.base is not None, "a plan gives a base to methods that need one"
        return self.base

    def _tensors(self, vectors: Vectors) -> tuple[Sequence[AnyTensor], AnyTensor | None]:
        if vectors == "base and sources":
            return (self._known_base, *self.sources), None
        return self.sources, self._known_base if vectors == "task vectors" else None

    def _of_one(self, name: str, source: int, compute: Callable[[], Statistic]) -> Statistic:
        return self._context.get_or_compute(name, (source,), compute)

    def _of_all(self, name: str, compute: Callable[[], Statistic]) -> Statistic:
        return self._context.get_or_compute(name, range(len(self.sources)), compute)

    def _if_room(
        self, name: str, source: int, n_bytes: int, compute: Callable[[], Statistic], after: str | None = None
    ) -> Statistic | None:
        """Return a large statistic; None if the cache has no room for it.

        ``after``: compute it only if an earlier candidate has asked for this one.
        """
        known = self._context.get(name, (source,))
        if known is not None:
            return known
        if after is not None and self._context.get(after, (source,)) is None:
            return None
        return self._of_one(name, source, compute) if self._context.has_room(n_bytes) else None
