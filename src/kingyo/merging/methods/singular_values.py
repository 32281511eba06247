"""Methods on the singular values of task vectors, as matrices.

TSV-Merge: algorithm 1 of Gargiulo et al. 2025; Iso-C: equations 6 and 7, Iso-CTS: algorithm 1 of Marczak et
al. 2025. Matrices with far more rows than columns (embeddings) are replaced by small ones with the same inner
products: D = [δ₁ … δₙ] = Q R with orthonormal Q; R is merged, and Q R = D (R⁻¹ …) is computed row by row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels import Term, WeightedSum, weighted_sum
from kingyo.merging.kernels.blocks import Span, spans
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodValues, OnBase, Parameter, switch
from kingyo.merging.methods.inputs import TensorContext
from kingyo.merging.methods.linear import EQUAL_WEIGHT, LAMBDA, WEIGHT

_ENTRIES_AT_ONCE = 1 << 16
_GRAM_ROWS = 1024
RANK = 1e-5
"""Singular values below this fraction of the largest are rounding noise; their directions are left out."""

Core = Callable[[Sequence[Tensor], MethodValues], Tensor]
"""Returns the merged matrix from task vectors (float64 matrices) and parameters."""

SPECTRAL = switch(
    "spectral",
    True,
    "Merge matrices by singular values; false averages them (for embeddings, set it with a filter).",
)


class Spectral(OnBase):
    """θ₀ + λ M, where M combines singular vectors of the n task vectors, as matrices.

    Tensors that are not matrices, and matrices with fewer rows or columns than max(2, n), are averaged:
    θ₀ + λ Σ wᵢδᵢ / n. Decompositions take far longer than a sum, so use it for a merge, not for a search.
    """

    core: Core  # computes M
    params: tuple[Parameter, ...] = (EQUAL_WEIGHT, LAMBDA, SPECTRAL)
    differs = (
        "Not in mergekit. The weight per source is kingyo's addition; weights of 1 give the paper's method.",
        "Directions with singular values below 1e-5 of the largest are left out, also of a mean; the "
        "authors' code has arbitrary ones if task vectors have a low rank, such as LoRA.",
    )
    reproduces = "with the same number of threads"

    @property
    def how(self) -> str:
        return f"M = {inspect.getdoc(self.core)}"

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


def decompose(matrix: Tensor, largest: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, the singular values and V of a matrix, without values below ``RANK`` · largest (of them)."""
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

    For columns = P D Qᵀ it is P Qᵀ = columns · Q D⁻¹ Qᵀ, without singular values below ``RANK``.
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


BANDS = 3
_ROWS_AT_ONCE = 1 << 10
Parts = NDArray[np.float32]


def task_singular_vectors(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """U⊥ Σ V⊥ᵀ, from the k = min(rows, columns) // n leading singular vectors and values of each δᵢ.

    U⊥ and V⊥ are the nearest matrices with orthonormal columns to [U₁ … Uₙ] and [V₁ … Vₙ]; Σ holds the
    singular values times wᵢ.
    """
    k = min(deltas[0].shape) // len(deltas)
    lefts: list[Tensor] = []
    sizes: list[Tensor] = []
    rights: list[Tensor] = []
    for delta, weight in zip(deltas, values.each("weight"), strict=True):
        u, s, v = decompose(delta)
        lefts.append(u[:, :k])
        sizes.append(weight * s[:k])
        rights.append(v[:, :k])
    left, _ = nearest_orthogonal(torch.cat(lefts, dim=1))
    right, _ = nearest_orthogonal(torch.cat(rights, dim=1))
    return (left * torch.cat(sizes)) @ right.t()


def isotropic(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """σ̄ U Vᵀ, where U Σ Vᵀ = Σ wᵢδᵢ and σ̄ is the mean singular value."""
    total = _total(deltas, values)
    narrow = total if total.shape[0] >= total.shape[1] else total.t()
    nearest, sizes = nearest_orthogonal(narrow)
    merged = nearest * (sizes.mean() if len(sizes) else 0.0)
    return merged if narrow is total else merged.t()


def isotropic_with_tasks(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    """σ̄ U′ V′ᵀ, from common directions and from directions of single tasks.

    The common directions are the k = round(common · r) leading ones of Σ wᵢδᵢ, with r = min(rows, columns).
    Each task adds the (r - k) // n leading directions of wᵢδᵢ without its projection on the common ones. U′
    and V′ are the nearest matrices with orthonormal columns, and σ̄ is the mean of all singular values.
    """
    r = min(deltas[0].shape)
    k = round(values.number("common") * r)
    u, s, v = decompose(_total(deltas, values))
    common = u[:, :k]
    lefts, sizes, rights = [common], [s[:k]], [v[:, :k]]
    for delta, weight in zip(deltas, values.each("weight"), strict=True):
        own = weight * (delta - common @ (common.t() @ delta))
        left, size, right = decompose(own, abs(weight) * float(delta.square().sum().sqrt()))
        each = (r - k) // len(deltas)
        lefts.append(left[:, :each])
        sizes.append(size[:each])
        rights.append(right[:, :each])
    size = torch.cat(sizes)
    if not len(size):
        return torch.zeros_like(deltas[0])
    left, _ = nearest_orthogonal(torch.cat(lefts, dim=1))
    right, _ = nearest_orthogonal(torch.cat(rights, dim=1))
    return left @ right.t() * size.mean()


def _total(deltas: Sequence[Tensor], values: MethodValues) -> Tensor:
    total = torch.zeros_like(deltas[0])
    for delta, weight in zip(deltas, values.each("weight"), strict=True):
        total.add_(delta, alpha=weight)
    return total


_REST = Parameter(name="rest", doc="Gain of all other directions.", default=1.0, per_source=True)
_TOP = replace(
    _REST,
    name="top",
    doc="Gain of the leading directions, with a third of the squared change.",
    search_low=0.0,
    search_high=1.5,
)
_MIDDLE = replace(_TOP, name="middle", doc="Gain of the next directions, with the second third.")


class SingularBands(OnBase):
    """θ₀ + λ Σ wᵢ (tᵢTᵢ + mᵢMᵢ + rᵢRᵢ), where δᵢ = Tᵢ + Mᵢ + Rᵢ, and tᵢ, mᵢ, rᵢ are top, middle and rest.

    The components of δ = Σ σₖ uₖ vₖᵀ are sorted by descending σ. A component belongs to T if the components
    before it hold less than a third of Σ σ², to M if they hold less than two thirds, and else to R. So each
    band holds about a third of the squared change: T in few directions (at least one), R in most. Gains of 1
    give a result that is bit-identical to that of task_arithmetic.

    Tensors other than matrices with at least two rows and columns have gains of 1. A search decomposes each
    source once and caches 8 bytes per entry of its matrices while there is room; a candidate then takes as
    long as with task_arithmetic and three times as many sources.
    """

    name = "singular_bands"
    doc = "Task arithmetic with gains for the leading, the middle and the remaining singular directions."
    params = (
        WEIGHT,
        _TOP,
        _MIDDLE,
        _REST,
        LAMBDA,
        replace(SPECTRAL, doc="Merge matrices by bands; false merges them like task_arithmetic."),
    )
    reproduces = "with the same number of threads"
    when = "A search that should strengthen a source's main changes, or drop its minor ones."
    source = "kingyo, after the mutation of CycleQD: Kuroki et al. 2024 (arXiv 2410.14735)"
    differs = ("Not in mergekit.",)

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> WeightedSum:
        assert base is not None
        is_matrix = base.dim() == 2 and min(base.shape) >= 2 and values.flag("spectral")
        gains = zip(*map(values.each, ("weight", "top", "middle", "rest")), strict=True)
        terms: list[tuple[Tensor, float]] = []
        for i, (source, (weight, top, middle, rest)) in enumerate(zip(sources, gains, strict=True)):
            terms.append((source, weight * rest if is_matrix else weight))
            if weight and is_matrix and not top == middle == rest:
                parts = context.get_or_compute("singular bands", (i,), partial(leading_parts, source, base))
                gained = weight * (top - rest), weight * (middle - rest)
                terms += zip(torch.as_tensor(parts).unbind(0), gained, strict=True)
        kept = tuple(Term(source=tensor, factor=factor) for tensor, factor in terms if factor)
        return WeightedSum(shape=tuple(base.shape), terms=kept, base=base, scale=values.number("lambda"))


def leading_parts(source: Tensor, base: Tensor) -> Parts:
    """Return θ₀ + T and θ₀ + M of a matrix, to be used like sources: float32, shape (2, rows, columns).

    If the source is not finite both are θ₀; the source itself still makes the result not finite.
    """
    is_wide = base.shape[1] > base.shape[0]
    if is_wide:
        source, base = source.t(), base.t()
    gram = gram_of_columns([source], base)
    if bool(torch.isfinite(gram).all()):
        sizes, vectors = directions(gram)
    else:
        sizes, vectors = gram[0, :0], gram[:, :0]
    parts = np.empty((BANDS - 1, *base.shape), dtype=np.float32)
    projections = [band @ band.t() for band in _bands(sizes.flip(0), vectors.flip(1))]
    for first, last in spans(base.shape[0], _ROWS_AT_ONCE):
        delta = side_by_side([source], base, (first, last))
        for part, projection in zip(parts, projections, strict=True):
            part[first:last] = (delta @ projection).add_(base[first:last]).float().numpy()
    return np.ascontiguousarray(parts.transpose(0, 2, 1)) if is_wide else parts


def _bands(sizes: Tensor, vectors: Tensor) -> list[Tensor]:
    energy = sizes.square()
    before, total = energy.cumsum(0) - energy, energy.sum()
    band = (before * BANDS >= total).long() + (before * BANDS >= 2 * total).long()
    return [vectors[:, band == each] for each in range(BANDS - 1)]


class _Tsv(Spectral):
    name = "tsv"
    doc = "Orthogonalise and sum the leading singular vectors of all task vectors (Gargiulo 2025)."
    core = staticmethod(task_singular_vectors)
    when = (
        "Several fine-tunes on different tasks, without a search: its authors report better untuned "
        "merges than with TIES or consensus."
    )
    source = 'Gargiulo et al. 2025, "Task singular vectors" (arXiv 2412.00081)'


class _IsoC(Spectral):
    name = "iso_c"
    doc = "Sum task vectors, and set all singular values of the sum to their mean (Marczak 2025)."
    core = staticmethod(isotropic)
    when = (
        "Several fine-tunes on different tasks, if a plain sum favours the one with the largest changes. "
        "Tune lambda."
    )
    source = 'Marczak et al. 2025, "No task left behind" (arXiv 2502.04959)'


class _IsoCts(_IsoC):
    name = "iso_cts"
    doc = (
        "Like iso_c, with the last directions of the sum replaced by directions of single tasks "
        "(Marczak 2025)."
    )
    core = staticmethod(isotropic_with_tasks)
    params = (
        EQUAL_WEIGHT,
        Parameter(
            name="common",
            doc="Fraction of directions from the sum; the rest are from single tasks.",
            default=0.8,
            low=0.0,
            high=1.0,
            search_low=0.5,
            search_high=1.0,
        ),
        LAMBDA,
        SPECTRAL,
    )
    when = "Like iso_c, with many tasks: directions that only one task needs are kept."


for _method in (_Tsv(), SingularBands(), _IsoC(), _IsoCts()):
    METHODS.register(_method.name)(_method)
