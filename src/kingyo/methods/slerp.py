"""Spherical interpolation between the base and one source.

Shoemake 1985, "Animating rotation with quaternion curves"; applied to whole tensors as vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kingyo.methods import METHODS
from kingyo.methods.blocks import add_rows, column, row_sums, rows, spans
from kingyo.methods.contract import MethodValues, Noise, Parameter

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
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, _noise: Noise, /
    ) -> Tensor:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        first, second = base.reshape(-1), sources[0].reshape(-1)
        shares = column(_shares(values.number("t"), _cosine(first, second)))
        out = torch.empty(base.shape, dtype=torch.float32)
        for span in spans(out.numel()):
            out.view(-1)[span[0] : span[1]] = add_rows(rows((first, second), span).mul_(shares))
        return out


def _shares(t: float, cosine: float | None) -> tuple[float, float]:
    """How much of either end a point at t has."""
    if cosine is None or abs(cosine) > _COLINEAR:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _cosine(first: Tensor, second: Tensor) -> float | None:
    """cos Ω, or None when a tensor has no direction."""
    dot = first_square = second_square = 0.0
    for span in spans(first.numel()):
        a, b = rows((first, second), span).unbind(0)
        sums = row_sums(torch.stack((a * b, a * a, b * b)))
        dot, first_square, second_square = dot + sums[0], first_square + sums[1], second_square + sums[2]
    norms = math.sqrt(first_square) * math.sqrt(second_square)
    return max(-1.0, min(1.0, dot / norms)) if norms > 0 else None


METHODS.register(Slerp.name)(Slerp())
