"""Shared parts of methods on task vectors δᵢ = θᵢ - θ₀: declarations, and the sum on the base."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from kingyo.kernels import Mask, Term, WeightedSum
from kingyo.kernels.weighted_sum import SMALLEST_DIVISOR
from kingyo.methods.contract import MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs

WEIGHT = Parameter(
    name="weight", doc="Weight of the source.", search_low=0.0, search_high=1.0, per_source=True
)
EQUAL_WEIGHT = replace(WEIGHT, default=1.0, search_high=1.5)
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


class OnBase:
    """What methods declare that merge one or more sources on a base, without random numbers."""

    needs_base = True
    min_sources = 1
    max_sources: int | None = None
    stochastic = False


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


def task_vector_sum(
    inputs: MergeInputs,
    values: MethodValues,
    *,
    elect: bool,
    mask: Callable[[int], tuple[Mask | None, float | None]] = lambda _: (None, 1.0),
) -> WeightedSum:
    """Return θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ, the sum divided by that of its weights if normalised.

    It is the base if no source is left. A divisor below 1e-8 counts as 1.

    Args:
        inputs: θᵢ and θ₀; sources with weight 0 are left out.
        values: ``weight`` per source, ``lambda`` and ``normalize``.
        elect: in each entry, use only sources that agree with the sign of the sum, also for the divisor.
        mask: returns a source's mask mᵢ (None keeps all entries) and its factor rᵢ, given the source's index;
            if rᵢ is None, it is the factor with which the mask keeps the sum of magnitudes.
    """
    weights = values.each("weight")
    masks = {i: mask(i) for i, weight in enumerate(weights) if weight}
    ratios = inputs.rescalings(
        {i: kept for i, (kept, ratio) in masks.items() if kept is not None and ratio is None}
    )
    terms: list[Term] = []
    for i, (kept, ratio) in masks.items():
        factor = weights[i] * (ratios[i] if ratio is None else ratio)
        terms.append(inputs.term(i, factor, share=weights[i], mask=kept))
    scale, normalized = values.number("lambda"), values.flag("normalize")
    total = math.fsum(weights)
    if normalized and not elect and abs(total) >= SMALLEST_DIVISOR:
        scale /= total
    return inputs.sum_on_base(terms, scale=scale, elect=elect, normalize=normalized and elect)


def kept_count(n: int, density: float) -> int:
    """Return how many of n entries are kept: max(1, int(density · n)), or 0 if n is 0."""
    return min(n, max(1, int(density * n)))
