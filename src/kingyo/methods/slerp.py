"""Spherical interpolation between the base and one source."""

from __future__ import annotations

from kingyo.kernels import WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.sphere import cosine, shares

_COLINEAR = 0.9995


class Slerp:
    """(sin((1-t)Ω) θ₀ + sin(tΩ) θ₁) / sin Ω, where Ω is the angle between the two tensors.

    If |cos Ω| > 0.9995, or a tensor is zero and has no angle, interpolation is linear: (1-t) θ₀ + t θ₁.
    """

    name = "slerp"
    doc = "Spherical interpolation per tensor from the base (t = 0) to the source (t = 1)."
    params = (
        Parameter(
            name="t",
            doc="Position between base (0) and source (1); values outside extrapolate along the circle.",
            search_low=0.0,
            search_high=1.0,
        ),
    )
    needs_base = True
    min_sources = 1
    max_sources = 1
    stochastic = False
    reproduces = "on one machine"
    guide = Guide(
        when="Two models, if you want one between them, with t per layer or kind of tensor.",
        source='Shoemake 1985, "Animating rotation with quaternion curves" (SIGGRAPH)',
        differs=(
            "A tensor of zeros has no angle, so interpolation is linear; mergekit assumes a right angle, "
            "which gives sin(π(1-t)/2) θ₀ for a zero source.",
        ),
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""
        products = inputs.inner_products("base and sources")
        cos = cosine(float(products[0, 0]), float(products[1, 1]), float(products[0, 1]))
        both = shares(values.number("t"), cos, _COLINEAR)
        return inputs.weighted_sum(both, "base and sources")


METHODS.register(Slerp.name)(Slerp())
