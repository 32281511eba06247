"""Spherical interpolation between the base and one source.

Shoemake 1985, "Animating rotation with quaternion curves"; applied to whole tensors as vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from kingyo.kernels import Blend
from kingyo.kernels.blend import plain_sum
from kingyo.kernels.measures import gram
from kingyo.methods import METHODS
from kingyo.methods.contract import Fact, MethodValues, Parameter, TensorContext

_COLINEAR = 0.9995


class Slerp:
    """(sin((1-t)Ω) θ₀ + sin(tΩ) θ₁) / sin Ω, where Ω is the angle between the two tensors.

    Where |cos Ω| > 0.9995, or a tensor is zero and has no angle, it is the straight line (1-t) θ₀ + t θ₁.
    """

    name = "slerp"
    doc = "Spherical interpolation from the base (t = 0) to the one source (t = 1), tensor by tensor."
    params = (
        Parameter(
            name="t", doc="Where between base (0) and source (1); required.", search_low=0.0, search_high=1.0
        ),
    )
    needs_base = True
    min_sources = 1
    max_sources = 1
    stochastic = False

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Blend:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        cosine = _cosine(context.recall("gram with base", (0,), lambda: gram((base, sources[0]))))
        return plain_sum((base, sources[0]), _shares(values.number("t"), cosine), tuple(base.shape))


def _shares(t: float, cosine: float | None) -> tuple[float, float]:
    """How much of either end a point at t has."""
    if cosine is None or abs(cosine) > _COLINEAR:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _cosine(products: Fact) -> float | None:
    """cos Ω from the inner products of the two tensors, or None when a tensor has no direction."""
    norms = math.sqrt(products[0, 0]) * math.sqrt(products[1, 1])
    return max(-1.0, min(1.0, products[0, 1] / norms)) if norms > 0 else None


METHODS.register(Slerp.name)(Slerp())
