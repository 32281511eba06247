"""Spherical mean of any number of tensors: their mean direction times their mean length."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kingyo.kernels import WeightedSum
from kingyo.kernels.statistics import Floats
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.linear import normalized
from kingyo.methods.task_vectors import WEIGHT


class MultiSlerp:
    """Σ wᵢ|xᵢ| · u / |u| with u = Σ wᵢ xᵢ / |xᵢ|, where xᵢ is θᵢ, or δᵢ if there is a base.

    With a base the result is added to θ₀. u / |u| is the first iterate of the spherical weighted mean of Buss
    & Fillmore. A zero tensor has no direction, but counts in the mean length. If directions cancel
    (|u| ≤ eps), the result is the weighted sum Σ wᵢxᵢ.
    """

    name = "multislerp"
    doc = "Mean direction of the sources (with a base: of the task vectors) times their mean length."
    params = (
        WEIGHT,
        Parameter(
            name="normalize_weights",
            kind="bool",
            default=True,
            doc="Divide the weights by their sum.",
        ),
        Parameter(
            name="eps",
            default=1e-8,
            low=0.0,
            doc="Length of the summed directions at which they cancel; the weighted sum is used then.",
        ),
    )
    needs_base = False
    takes_base = True
    min_sources = 1
    max_sources = None
    stochastic = False
    guide = Guide(
        when="Sources that are far apart, so that the mean of linear would be too short.",
        source='Buss & Fillmore 2001, "Spherical averages and applications to spherical splines" (ACM TOG)',
        differs=(
            "If all task vectors are zero the result is the base, and if directions cancel it is the "
            "weighted sum; mergekit stops with an error.",
            "Weights that sum to zero are an error unless normalize_weights is false; mergekit returns NaN.",
        ),
    )

    def check(self, values: MethodValues, _n_sources: int) -> None:
        """See ``check_together``."""
        if values.flag("normalize_weights"):
            normalized(values.each("weight"))

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""
        weights = values.each("weight")
        if values.flag("normalize_weights"):
            weights = normalized(weights)
        vectors = "task vectors" if inputs.has_base else "sources"
        factors = _factors(weights, inputs.inner_products(vectors), values.number("eps"))
        return inputs.weighted_sum(factors, vectors)


def _factors(weights: Sequence[float], products: Floats, eps: float) -> tuple[float, ...]:
    norms = [math.sqrt(products[i, i]) for i in range(len(weights))]
    units = [weight / norm if norm > 0 else 0.0 for weight, norm in zip(weights, norms, strict=True)]
    square = math.fsum(
        a * b * float(products[i, j]) for i, a in enumerate(units) for j, b in enumerate(units)
    )
    length = math.sqrt(max(0.0, square))
    if length <= eps:
        return tuple(weights)
    mean = math.fsum(weight * norm for weight, norm in zip(weights, norms, strict=True))
    return tuple(mean * unit / length for unit in units)


METHODS.register(MultiSlerp.name)(MultiSlerp())
