"""Arcee Fusion: take the source's entries with outlying changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels import Elementwise
from kingyo.merging.kernels.blocks import Span, differences, lines_of, row_sums, spans
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodValues, OnBase
from kingyo.merging.methods.inputs import TensorContext

_AT_ONCE = 1 << 18
_FLOOR = 1e-8
_ONE_THREAD = 1 << 14


class ArceeFusion(OnBase):
    """θ₁ where |δ| · KL(row) ≥ q₂ + 1.5 (q₃ - q₁), else θ₀.

    KL is the divergence of softmax(θ₁) from softmax(θ₀) over the row, that is, over the last index; a vector
    is one row. q₁, q₂, q₃ are the quartiles of |δ| · KL over the tensor, at index floor(q · (n - 1)) of the
    sorted entries.
    """

    name = "arcee_fusion"
    doc = (
        "Take the source's entries whose change times the divergence of their row is an outlier, else the "
        "base's (Arcee 2025)."
    )
    params = ()
    max_sources = 1
    reproduces = "on one machine"
    when = "One fine-tune of the base, from which you want only the outlying changes."
    source = "Arcee AI 2025, release notes of mergekit v0.1"

    def hides_nonfinite(self, _values: MethodValues) -> bool:
        return True

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, _values: MethodValues, context: TensorContext, /
    ) -> Elementwise:
        assert base is not None
        source = sources[0]
        measured = context.get_or_compute("divergence", (0,), lambda: divergences(source, base))
        divergence = torch.as_tensor(np.asarray(measured, dtype=np.float32))
        shape = base.shape or (1,)
        read = differences(sources, base)

        def importance(span: Span) -> Tensor:
            return read(span)[0].abs_().mul_(divergence[lines_of(span, shape, "row")])

        quartiles = context.get_or_compute(
            "quartiles by divergence", (0,), lambda: _quartiles(importance, base.numel())
        )
        low, middle, high = (float(each) for each in quartiles)
        threshold = float(np.float32(middle + 1.5 * (high - low)))
        start, end = base.reshape(-1), source.reshape(-1)

        def compute(span: Span) -> Tensor:
            small = importance(span) < threshold  # False for NaN, which must remain in the result
            return torch.where(small, start[span[0] : span[1]].float(), end[span[0] : span[1]].float())

        return Elementwise(shape=tuple(base.shape), compute=compute)


def divergences(source: Tensor, base: Tensor) -> NDArray[np.float64]:
    """Return Σ p ln(p/q) per row of p = softmax(source), q = softmax(base), both with 1e-8 added."""
    n = source.numel()
    length = source.shape[-1] if source.dim() else 1
    result = np.zeros(n // max(1, length))
    flat = source.reshape(-1), base.reshape(-1)
    for start, stop in spans(n, max(1, _AT_ONCE // max(1, length)) * length if n else 1):
        x, y = (each[start:stop].reshape(-1, length).float() for each in flat)
        p, q = (each.softmax(-1).add_(_FLOOR) for each in (x, y))
        terms = p * (p / q).log()
        # mergekit's order of summation, except for a long single row, where torch's depends on the threads
        is_split = len(terms) == 1 and terms.numel() >= _ONE_THREAD
        result[start // length : stop // length] = (
            row_sums(terms.double().numpy()) if is_split else terms.sum(-1).numpy()
        )
    return result


def _quartiles(importance: Callable[[Span], Tensor], n: int) -> NDArray[np.float64]:
    if n == 0:
        return np.zeros(3)
    numbers = np.empty(n, dtype=np.float32)
    for start, stop in spans(n):
        numbers[start:stop] = importance((start, stop)).numpy()
    ranks = [quarter * (n - 1) // 4 for quarter in (1, 2, 3)]
    numbers.partition(ranks)
    return numbers[ranks].astype(np.float64)


METHODS.register(ArceeFusion.name)(ArceeFusion())
