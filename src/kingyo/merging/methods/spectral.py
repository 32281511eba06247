"""Shared code for methods based on singular values.

Matrices with far more rows than columns (embeddings) are replaced by small ones with the same inner products:
D = [δ₁ … δₙ] = Q R with orthonormal Q; R is merged, and Q R = D (R⁻¹ …) is computed row by row. This neither
copies nor decomposes a large matrix.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels import WeightedSum, weighted_sum
from kingyo.merging.kernels.blocks import Span, spans
from kingyo.merging.methods.contract import Guide, MethodValues, Parameter
from kingyo.merging.methods.inputs import TensorContext
from kingyo.merging.methods.linear import EQUAL_WEIGHT, LAMBDA, OnBase

_ENTRIES_AT_ONCE = 1 << 16
_GRAM_ROWS = 1024
RANK = 1e-5
"""Singular values below this fraction of the largest are rounding noise; their directions are left out."""

_HOW = """\
θ₀ + λ M, where M combines singular vectors of the n task vectors, as matrices.

M = {core}

Tensors that are not matrices, and matrices with fewer rows or columns than max(2, n), are averaged:
θ₀ + λ Σ wᵢδᵢ / n. Decompositions take far longer than a sum, so use it for a merge, not for a search."""

Core = Callable[[Sequence[Tensor], MethodValues], Tensor]
"""Returns the merged matrix from task vectors (float64 matrices) and parameters."""

SPECTRAL = Parameter(
    name="spectral",
    kind="bool",
    default=True,
    doc="Merge matrices by singular values; false averages them (for embeddings, set it with a filter).",
)


@dataclass(frozen=True, kw_only=True)
class Spectral(OnBase):
    """θ₀ + λ M; see ``describe_core``."""

    name: str
    doc: str
    core: Core  # computes M
    guide: Guide
    params: tuple[Parameter, ...] = (EQUAL_WEIGHT, LAMBDA, SPECTRAL)
    reproduces = "with the same number of threads"

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, _context: TensorContext, /
    ) -> Tensor | WeightedSum:
        assert base is not None
        n, scale = len(sources), values.number("lambda")
        if base.dim() == 2 and min(base.shape) >= max(2, n) and values.flag("spectral"):
            merged = _merge(sources, base, lambda deltas: self.core(deltas, values).mul_(scale))
            if merged is not None:
                return merged
        return weighted_sum(sources, [weight / n for weight in values.each("weight")], base, scale)


def describe_core(core: Core) -> str:
    """Return the description of a method with this core, with the core's docstring in it."""
    return _HOW.format(core=inspect.getdoc(core))


def decompose(matrix: Tensor, largest: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, the singular values and V of a matrix, without values below ``RANK`` · largest.

    The default of ``largest`` is the largest singular value.
    """
    u, values, vh = cast(
        "tuple[Tensor, Tensor, Tensor]",
        torch.linalg.svd(matrix, full_matrices=False),  # pyright: ignore[reportUnknownMemberType]
    )
    if largest is None:
        largest = float(values[0]) if len(values) else 0.0
    kept = values > RANK * largest
    return u[:, kept], values[kept], vh[kept].t()


def directions(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return singular values and right singular vectors V of a matrix A, ascending, from AᵀA = V Σ² Vᵀ.

    It is faster than ``decompose``, and in float64 precise enough for values above ``RANK``.
    """
    squares, vectors = cast(
        "tuple[Tensor, Tensor]",
        torch.linalg.eigh(gram),  # pyright: ignore[reportUnknownMemberType]
    )
    kept = squares > RANK**2 * max(0.0, float(squares[-1])) if len(squares) else squares > 0
    return squares[kept].sqrt(), vectors[:, kept]


def nearest_orthogonal(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest matrix with orthonormal columns (orthogonal Procrustes), and the singular values.

    For columns = P D Qᵀ it is P Qᵀ = columns · Q D⁻¹ Qᵀ. Directions with singular values below ``RANK`` stay
    zero.
    """
    sizes, q = directions(columns.t() @ columns)
    return columns @ ((q / sizes) @ q.t()), sizes


def _merge(
    sources: Sequence[Tensor], base: Tensor, core: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor | None:
    rows, columns = base.shape
    if columns > rows:
        turned = [each.t() for each in sources]
        merged = _merge(turned, base.t(), lambda deltas: core([each.t() for each in deltas]).t())
        return None if merged is None else merged.t().contiguous()
    if rows > 2 * len(sources) * columns:
        return _merge_tall(sources, base, core)
    deltas = side_by_side(sources, base, (0, rows))
    if not bool(torch.isfinite(deltas).all()):
        return None
    return core(deltas.chunk(len(sources), dim=1)).float().add_(base)


def _merge_tall(
    sources: Sequence[Tensor], base: Tensor, core: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor | None:
    gram = gram_of_columns(sources, base)
    if not bool(torch.isfinite(gram).all()):
        return None
    lengths, vectors = directions(gram)  # D = Q R with R = E Vᵀ of DᵀD = V E² Vᵀ
    n_rows = max(len(lengths), base.shape[1])  # at least as many as columns, since methods count both
    small = torch.zeros(n_rows, len(gram), dtype=torch.float64)
    small[: len(lengths)] = lengths[:, None] * vectors.t()
    merged = core(small.chunk(len(sources), dim=1))
    return _row_products(sources, base, vectors @ (merged[: len(lengths)] / lengths[:, None]))


def _row_products(sources: Sequence[Tensor], base: Tensor, factors: Tensor) -> Tensor:
    """Return θ₀ + Σ (θᵢ - θ₀) Wᵢ of matrices with many rows, given W₁ above W₂ above …, float64."""
    merged = torch.empty(base.shape, dtype=torch.float32)
    for first, last in spans(base.shape[0], max(1, _ENTRIES_AT_ONCE // base.shape[1])):
        deltas = side_by_side(sources, base, (first, last))
        merged[first:last] = (deltas @ factors).float().add_(base[first:last])
    return merged


def side_by_side(sources: Sequence[Tensor], base: Tensor, span: Span) -> Tensor:
    """Return θᵢ - θ₀ of a range of rows, rounded to float32: float64, shape (rows, sources · columns)."""
    start = base[span[0] : span[1]].float()
    return torch.cat([each[span[0] : span[1]].float() - start for each in sources], dim=1).double()


def gram_of_columns(sources: Sequence[Tensor], base: Tensor) -> Tensor:
    """Return the inner products of all columns of all θᵢ - θ₀: float64, square."""
    width = len(sources) * base.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64)
    for span in spans(base.shape[0], _GRAM_ROWS):
        deltas = side_by_side(sources, base, span)
        total.addmm_(deltas.t(), deltas)
    return total
