"""What methods on task vectors δᵢ = θᵢ - θ₀ have in common: their parameters, and the sum on the base."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from kingyo.kernels import Blend, Chance, Keep, Limit, Term
from kingyo.kernels.blend import SMALLEST_DIVISOR
from kingyo.kernels.facts import PASSING, Fact
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
from kingyo.late import Tensor
from kingyo.methods.contract import MethodValues, Parameter, TensorContext

WEIGHT = Parameter(
    name="weight",
    doc="How much of this source.",
    search_low=0.0,
    search_high=1.0,
    per_source=True,
)
EQUAL_WEIGHT = Parameter(
    name="weight",
    doc="How much of this source.",
    default=1.0,
    search_low=0.0,
    search_high=1.5,
    per_source=True,
)
DENSITY = Parameter(
    name="density",
    doc="Which part of the task vector's entries is kept.",
    default=1.0,
    low=0.0,
    high=1.0,
    search_low=0.1,
    search_high=1.0,
    per_source=True,
)
LAMBDA = Parameter(name="lambda", doc="Scales the merged task vector.", default=1.0)

_MOST_ORDERED = 1 << 24  # entries: to sort more takes too much memory at once


def rescale(default: bool) -> Parameter:
    """The switch that makes up for what is dropped."""
    doc = "Scale what is kept so that the sum of magnitudes stays what it was."
    return Parameter(name="rescale", kind="bool", default=default, doc=doc)


def normalize(default: bool, *, elect: bool = False) -> Parameter:
    """The switch that divides by weights."""
    doc = (
        "Divide each entry by the weights that agree on it (the disjoint mean)."
        if elect
        else "Divide by the sum of the weights that take part."
    )
    return Parameter(name="normalize", kind="bool", default=default, doc=doc)


def blend(
    sources: Sequence[Tensor],
    base: Tensor,
    values: MethodValues,
    *,
    elect: bool,
    keep: Callable[[int], tuple[Keep | None, float]] = lambda _: (None, 1.0),
) -> Blend:
    """θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ, the sum divided by that of its weights when normalised.

    Args:
        sources: θᵢ; those with weight 0 take no part.
        base: θ₀.
        values: ``weight`` per source, ``lambda`` and ``normalize``.
        elect: keep, entry by entry, only what agrees with the sign of the sum, in the sum and the divisor.
        keep: position of a source -> which entries are kept (all when None), and how they are scaled.

    Returns:
        The sum. A divisor below 1e-8 counts as 1; without any source it is the base.
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
    return Blend(
        shape=tuple(base.shape),
        terms=tuple(parts),
        base=base,
        scale=scale,
        elect=elect,
        normalize=normalized and elect,
    )


def kept_count(n: int, density: float) -> int:
    """How many of n entries are kept: max(1, int(density · n)), and none of none."""
    return min(n, max(1, int(density * n)))


def largest_entries(
    sources: Sequence[Tensor], base: Tensor, source: int, count: int, context: TensorContext
) -> Limit:
    """The limit of a source's ``count`` largest entries.

    What an earlier candidate measured is remembered: how many entries have each size, and, once a second one
    asks and as long as there is room, their order, which gives every limit at once.
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
    sources: Sequence[Tensor], base: Tensor, source: int, keep: Keep, context: TensorContext
) -> float:
    """Σ|δ| / Σ|mδ| of one source: what keeps the sum of magnitudes; 1 where nothing is left to scale."""
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
    """Σ|δ| of one source, remembered."""
    found = context.recall("magnitude", (source,), lambda: np.array([magnitude(sources[source], base)]))
    return float(found[0])


def _is_worth_ordering(theta: Tensor, sizes: Fact | None, context: TensorContext) -> bool:
    n = theta.numel()
    return sizes is not None and 0 < n <= _MOST_ORDERED and context.has_room(4 * n)


def _kept_by_chance(
    theta: Tensor, base: Tensor, source: int, keep: Keep, whole: float, context: TensorContext
) -> float | None:
    """``kept_magnitude`` from what is remembered for every density; None where that has no place."""
    if not isinstance(keep, Chance) or not theta.numel():
        return None
    name = f"{PASSING}magnitudes by chance {keep.key}"
    sums = context.known(name, (source,))
    if sums is None:
        if not context.has_room(8 * N_CHANCES):
            return None
        sums = context.recall(name, (source,), lambda: magnitudes_by_chance(theta, base, keep.key, whole))
    return kept_by_chance(cast("Floats", sums), keep)
