"""Derivatives of a loss by the parameters of merges, given the loss's derivatives by the merged weights.

A method describes its result as a weighted sum. The derivative by a parameter is that by the numbers of the
sum times the derivatives of these numbers by the parameter, which central differences of the description
give. So every method that describes sums has gradients, in all parameters that change no mask. They are exact
for linear parameters, and masks and elected signs count as fixed.

For θ = θ₀ + λ Σ fᵢaᵢmᵢδᵢ / d with d = Σ sᵢaᵢ (aᵢ: whether term i agrees with the elected sign) and G = ∂L/∂θ:
∂L/∂fᵢ = λ ⟨G, aᵢmᵢδᵢ / d⟩, ∂L/∂sᵢ = -λ ⟨G, aᵢ Σ fⱼaⱼmⱼδⱼ / d²⟩ and ∂L/∂λ = ⟨G, Σ fⱼaⱼmⱼδⱼ / d⟩.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.engine.jobs import Read, TensorJob, result
from kingyo.merging.kernels.blocks import add_rows, column, spans
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.kernels.weighted_sum import SMALLEST_DIVISOR, WeightedSum
from kingyo.merging.methods import MethodValues, Parameter

SPAN = 1 << 18  # entries at a time


@dataclass(frozen=True, kw_only=True)
class SumGradient:
    """Derivatives of a loss by the factors and shares of the terms (float64, one each), and by the scale."""

    factors: NDArray[np.float64]
    shares: NDArray[np.float64]
    scale: float


def sum_gradient(merged: WeightedSum, upstream: Tensor) -> SumGradient:
    """Return the derivatives of a loss, given ∂L/∂θ (any floating dtype, on the device of the terms)."""
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


ParameterOfTensor = tuple[str, int | None]
"""A parameter of the merge of one tensor, and the index of its source; None for a shared one."""
_STEP = 1e-3


def parameter_gradients(
    job: TensorJob, upstream: Tensor, read: Read, stats: TensorStats
) -> dict[ParameterOfTensor, float]:
    """Return the derivatives of a loss by all parameters in which the merge of a tensor is differentiable.

    These are none for copies, and for methods that do not describe a weighted sum of their inputs.
    ``upstream`` is ∂L/∂θ, of the tensor's shape.
    """
    if job.method is None:
        return {}
    read = cache(read)  # so that terms of several descriptions have the same tensors
    merged = result(job, read, stats)
    known = {id(read(each.reference, each.tensor)) for each in job.reads}
    if not isinstance(merged, WeightedSum) or any(id(term.source) not in known for term in merged.terms):
        return {}
    pairs = {
        (parameter.name, source): _described(job, parameter, source, read, stats)
        for parameter in job.method.params
        if parameter.kind == "float" and not parameter.inert
        for source in (range(len(job.inputs)) if parameter.per_source else (None,))
    }
    ends = [end for pair in pairs.values() for _, end in pair]
    whole = _with_terms(merged, ends)
    smooth = {place: pair for place, pair in pairs.items() if all(_same_masks(whole, end) for _, end in pair)}
    gradient = sum_gradient(whole, upstream)
    numbers = {place: [_numbers(whole, end) for _, end in pair] for place, pair in smooth.items()}
    slopes = np.concatenate((gradient.factors, gradient.shares, [gradient.scale]))
    return {
        place: float(slopes @ (numbers[place][1] - numbers[place][0])) / (high - low)
        for place, ((low, _), (high, _)) in smooth.items()
    }


def _described(
    job: TensorJob, parameter: Parameter, source: int | None, read: Read, stats: TensorStats
) -> list[tuple[float, WeightedSum]]:
    name, values = parameter.name, job.values
    value = values.number(name) if source is None else values.each(name)[source]
    step = _STEP * max(1.0, abs(value))
    low = max(value - step, -np.inf if parameter.low is None else parameter.low)
    high = min(value + step, np.inf if parameter.high is None else parameter.high)
    ends: list[tuple[float, WeightedSum]] = []
    for end in (low, high):
        merged = result(replace(job, values=_with_value(values, name, source, end)), read, stats)
        assert isinstance(merged, WeightedSum), "a method describes all results in the same way"
        ends.append((end, merged))
    return ends


def _with_value(values: MethodValues, name: str, source: int | None, value: float) -> MethodValues:
    if source is None:
        return replace(values, shared={**values.shared, name: value})
    own = values.per_source[name]
    return replace(values, per_source={**values.per_source, name: (*own[:source], value, *own[source + 1 :])})


def _with_terms(merged: WeightedSum, others: list[WeightedSum]) -> WeightedSum:
    terms = {id(term.source): term for term in merged.terms}
    for term in (term for each in others for term in each.terms):
        terms.setdefault(id(term.source), replace(term, factor=0.0, share=0.0))
    return replace(merged, terms=tuple(terms.values()))


def _same_masks(one: WeightedSum, other: WeightedSum) -> bool:
    masks = {id(term.source): term.mask for term in one.terms}
    names = ("elect", "equal_votes", "normalize", "most_varied")
    return all(getattr(one, name) == getattr(other, name) for name in names) and all(
        _equal(masks[id(term.source)], term.mask) for term in other.terms
    )


def _equal(one: Any, other: Any) -> bool:
    """Return whether two masks select the same entries; arrays are compared by identity."""
    if one is None or type(one) is not type(other):
        return one is other
    pairs = ((getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return all(a is b if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def _numbers(whole: WeightedSum, other: WeightedSum) -> np.ndarray:
    own = {id(term.source): (term.factor, term.share) for term in other.terms}
    pairs = np.array([own.get(id(term.source), (0.0, 0.0)) for term in whole.terms]).reshape(-1, 2)
    return np.concatenate((pairs[:, 0], pairs[:, 1], [other.scale]))
