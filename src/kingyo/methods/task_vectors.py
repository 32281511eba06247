"""Shared parts of methods on task vectors δᵢ = θᵢ - θ₀: parameters, and the sum on the base."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels import BernoulliMask, Mask, Term, Threshold, WeightedSum
from kingyo.kernels.blend import SMALLEST_DIVISOR
from kingyo.kernels.facts import PASSING, Statistic
from kingyo.kernels.measures import (
    Counts,
    Floats,
    Order,
    kept_by_chance,
    kept_magnitude,
    largest,
    limit_of,
    magnitude,
    magnitudes_by_chance,
    scaled_back,
    size_counts,
    size_order,
)
from kingyo.kernels.noise import N_CHANCES
from kingyo.methods.contract import MethodValues, Parameter, TensorContext

WEIGHT = Parameter(
    name="weight",
    doc="Weight of the source.",
    search_low=0.0,
    search_high=1.0,
    per_source=True,
)
EQUAL_WEIGHT = Parameter(
    name="weight",
    doc="Weight of the source.",
    default=1.0,
    search_low=0.0,
    search_high=1.5,
    per_source=True,
)
DENSITY = Parameter(
    name="density",
    doc="Fraction of the task vector's entries that is kept.",
    default=1.0,
    low=0.0,
    high=1.0,
    search_low=0.1,
    search_high=1.0,
    per_source=True,
)
LAMBDA = Parameter(name="lambda", doc="Factor of the merged task vector.", default=1.0)

_MOST_ORDERED = 1 << 24  # entries; sorting more takes too much memory


def rescale(default: bool) -> Parameter:
    """Return the parameter ``rescale``, which compensates for dropped entries."""
    doc = "Rescale the kept entries so that the sum of magnitudes stays the same."
    return Parameter(name="rescale", kind="bool", default=default, doc=doc)


def normalize(default: bool, *, elect: bool = False) -> Parameter:
    """Return the parameter ``normalize``, which divides by the weights."""
    doc = (
        "Divide each entry by the sum of the weights that agree on it (disjoint mean)."
        if elect
        else "Divide by the sum of the contributing weights."
    )
    return Parameter(name="normalize", kind="bool", default=default, doc=doc)


def blend(
    sources: Sequence[Tensor],
    base: Tensor,
    values: MethodValues,
    *,
    elect: bool,
    keep: Callable[[int], tuple[Mask | None, float]] = lambda _: (None, 1.0),
) -> WeightedSum:
    """Return θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ, the sum divided by that of its weights if normalised.

    Args:
        sources: θᵢ; sources with weight 0 are left out.
        base: θ₀.
        values: ``weight`` per source, ``lambda`` and ``normalize``.
        elect: in each entry, use only sources that agree with the sign of the sum, also for the divisor.
        keep: returns a source's mask mᵢ (None keeps all entries) and its factor rᵢ, given the source's index.

    Returns:
        The merged tensor, or the base if no source is left. A divisor below 1e-8 counts as 1.
    """
    weights = values.each("weight")
    parts: list[Term] = []
    for i, weight in enumerate(weights):
        if weight:
            kept, ratio = keep(i)
            parts.append(Term(source=sources[i], factor=weight * ratio, share=weight, keep=kept))
    scale, normalized = values.number("lambda"), values.flag("normalize")
    total = math.fsum(weights)
    if normalized and not elect and abs(total) >= SMALLEST_DIVISOR:
        scale /= total
    return WeightedSum(
        shape=tuple(base.shape),
        terms=tuple(parts),
        base=base,
        scale=scale,
        elect=elect,
        normalize=normalized and elect,
    )


def kept_count(n: int, density: float) -> int:
    """Return how many of n entries are kept: max(1, int(density · n)), or 0 if n is 0."""
    return min(n, max(1, int(density * n)))


def largest_entries(
    sources: Sequence[Tensor], base: Tensor, source: int, count: int, context: TensorContext
) -> Threshold:
    """Return the limit of a source's ``count`` largest entries.

    The histogram of sizes is cached. From the second candidate on the sorted order is cached too, if there is
    room; it gives every limit at once.
    """
    theta, ordered = sources[source], f"{PASSING}order"
    order = context.known(ordered, (source,))
    if order is None and _is_worth_ordering(theta, context.known("sizes", (source,)), context):
        order = context.recall(ordered, (source,), lambda: size_order(theta, base))
    if order is not None:
        return limit_of(theta, base, cast("Order", order), count)

    def counts() -> Counts:
        return cast("Counts", context.recall("sizes", (source,), lambda: size_counts([theta], base)))

    return largest(theta, base, count, counts)


def rescaling(
    sources: Sequence[Tensor], base: Tensor, source: int, keep: Mask, context: TensorContext
) -> float:
    """Return Σ|δ| / Σ|mδ| of one source, the factor that keeps the sum of magnitudes; 1 if Σ|mδ| is 0."""
    theta = sources[source]
    before = context.known("magnitude", (source,))
    if before is None:
        before = context.recall("magnitude", (source,), lambda: np.array([magnitude(theta, base)]))
        after = None
    else:
        after = _kept_by_chance(theta, base, source, keep, float(before[0]), context)
    if after is None:
        after = kept_magnitude(theta, base, keep, float(before[0]))
    return scaled_back(float(before[0]), after)


def whole_magnitude(sources: Sequence[Tensor], base: Tensor, source: int, context: TensorContext) -> float:
    """Return Σ|δ| of one source, cached."""
    total = context.recall("magnitude", (source,), lambda: np.array([magnitude(sources[source], base)]))
    return float(total[0])


def _is_worth_ordering(theta: Tensor, sizes: Statistic | None, context: TensorContext) -> bool:
    n = theta.numel()
    return sizes is not None and 0 < n <= _MOST_ORDERED and context.has_room(4 * n)


def _kept_by_chance(
    theta: Tensor, base: Tensor, source: int, keep: Mask, whole: float, context: TensorContext
) -> float | None:
    """Return ``kept_magnitude`` from cached sums for every density; None if the cache has no room."""
    if not isinstance(keep, BernoulliMask) or not theta.numel():
        return None
    name = f"{PASSING}magnitudes by chance {keep.key}"
    sums = context.known(name, (source,))
    if sums is None:
        if not context.has_room(8 * N_CHANCES):
            return None
        sums = context.recall(name, (source,), lambda: magnitudes_by_chance(theta, base, keep.key, whole))
    return kept_by_chance(cast("Floats", sums), keep)
