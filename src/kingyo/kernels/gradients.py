"""Derivatives of weighted sums by their numbers, with masks and elected signs as they are.

For θ = θ₀ + λ Σ fᵢaᵢmᵢδᵢ / d with d = Σ sᵢaᵢ (aᵢ: whether term i agrees with the elected sign) and G = ∂L/∂θ:
∂L/∂fᵢ = λ ⟨G, aᵢmᵢδᵢ / d⟩, ∂L/∂sᵢ = -λ ⟨G, aᵢ Σ fⱼaⱼmⱼδⱼ / d²⟩ and ∂L/∂λ = ⟨G, Σ fⱼaⱼmⱼδⱼ / d⟩.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import add_rows, column, spans
from kingyo.kernels.weighted_sum import SMALLEST_DIVISOR, WeightedSum

SPAN = 1 << 18  # entries at a time


@dataclass(frozen=True, kw_only=True)
class SumGradient:
    """Derivatives of a loss by the factors and shares of the terms (float64, one each), and by the scale."""

    factors: NDArray[np.float64]
    shares: NDArray[np.float64]
    scale: float


def sum_gradient(merged: WeightedSum, upstream: Tensor) -> SumGradient:
    """Return the derivatives of a loss, given that by the entries of the result.

    Args:
        merged: the sum.
        upstream: ∂L/∂θ, of the shape of the result and any floating dtype, on the device of the terms.
    """
    n = len(merged.terms)
    totals = torch.zeros(2 * n + 1, dtype=torch.float64)
    flat = upstream.detach().reshape(-1)
    for start, stop in spans(merged.n_elements if n else 0, SPAN):
        totals += _products(merged, flat[start:stop].float(), (start, stop)).cpu()
    factors, shares, scale = np.split(totals.numpy(), [n, 2 * n])
    return SumGradient(factors=merged.scale * factors, shares=-merged.scale * shares, scale=float(scale[0]))


def _products(merged: WeightedSum, upstream: Tensor, span: tuple[int, int]) -> Tensor:
    """Return ⟨G, aᵢmᵢδᵢ / d⟩ and ⟨G, aᵢΣ / d²⟩ of each term, and ⟨G, Σ / d⟩, of a span."""
    deltas = merged.rows(span)
    factors = column([term.factor for term in merged.terms], deltas.device)
    by_share = torch.zeros(len(deltas), dtype=torch.float64)
    if merged.elect:
        votes = add_rows(deltas if merged.equal_votes else deltas * factors)
        agrees = (deltas * factors).mul_(torch.where(torch.signbit(votes), -1.0, 1.0)) > 0
        deltas.mul_(agrees)
        if merged.normalize:
            divisor = add_rows(agrees * column([term.share for term in merged.terms], deltas.device))
            is_small = divisor.abs() < SMALLEST_DIVISOR
            upstream = upstream / divisor.masked_fill(is_small, 1.0)
            means = upstream * add_rows(deltas * factors) / divisor.masked_fill(is_small, torch.inf)
            by_share = (agrees.float() @ means).double().cpu()
    by_factor = (deltas @ upstream).double().cpu()
    return torch.cat((by_factor, by_share, (by_factor @ factors[:, 0].double().cpu())[None]))
