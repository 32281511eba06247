"""Task arithmetic with a gain for each band of a task vector's singular values.

The mutation of CycleQD (Kuroki et al. 2024, arXiv 2410.14735) scales each singular component of a task vector
by a random number; here a recipe sets the gain of each band. Decompositions are cached, so that a candidate
of a search takes one pass over the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Term, WeightedSum
from kingyo.kernels.blocks import spans
from kingyo.kernels.lazy import gram_of_columns, side_by_side
from kingyo.kernels.statistics_cache import PASSING
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import TensorContext
from kingyo.methods.spectral import directions
from kingyo.methods.task_vectors import LAMBDA, WEIGHT

BANDS = 3
_ROWS_AT_ONCE = 1 << 10
Parts = NDArray[np.float32]


def _gain(name: str, doc: str, *, is_searched: bool) -> Parameter:
    """Return the parameter of a gain, a factor of the source's weight."""
    return Parameter(
        name=name,
        doc=doc,
        default=1.0,
        search_low=0.0 if is_searched else None,
        search_high=1.5 if is_searched else None,
        per_source=True,
    )


class SingularBands:
    """θ₀ + λ Σ wᵢ (tᵢTᵢ + mᵢMᵢ + rᵢRᵢ), where δᵢ = Tᵢ + Mᵢ + Rᵢ, and tᵢ, mᵢ, rᵢ are top, middle and rest.

    The components of δ = Σ σₖ uₖ vₖᵀ are sorted by descending σ. A component belongs to T if the components
    before it hold less than a third of Σ σ², to M if they hold less than two thirds, and else to R. So each
    band holds about a third of the squared change: T in few directions (at least one), R in most. Gains of 1
    give a result that is bit-identical to that of task_arithmetic.

    Tensors other than matrices with at least two rows and columns have gains of 1. A search decomposes each
    source once and caches 8 bytes per entry of its matrices while there is room; a candidate then takes as
    long as with task_arithmetic and three times as many sources. Without room each candidate repeats the
    decomposition.
    """

    name = "singular_bands"
    doc = "Task arithmetic with gains for the leading, the middle and the remaining singular directions."
    params = (
        WEIGHT,
        _gain("top", "Gain of the leading directions, with a third of the squared change.", is_searched=True),
        _gain("middle", "Gain of the next directions, with the second third.", is_searched=True),
        _gain("rest", "Gain of all other directions.", is_searched=False),
        LAMBDA,
        Parameter(
            name="spectral",
            kind="bool",
            default=True,
            doc="Merge matrices by bands; false merges them like task_arithmetic (for embeddings, set it "
            "with a filter).",
        ),
    )
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False
    reproduces = "with the same number of threads"
    guide = Guide(
        when="A search that should strengthen a source's main changes, or drop its minor ones.",
        source='kingyo, after the mutation in Kuroki et al. 2024, "Agent Skill Acquisition for Large '
        'Language Models via CycleQD" (arXiv 2410.14735)',
        differs=("Not in mergekit.",),
    )

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> WeightedSum:
        """Merge; see ``MergesTensors``."""
        assert base is not None
        is_matrix = base.dim() == 2 and min(base.shape) >= 2 and values.flag("spectral")
        terms: list[Term] = []
        for i, weight in enumerate(values.each("weight")):
            top, middle, rest = (
                values.each(name)[i] if is_matrix else 1.0 for name in ("top", "middle", "rest")
            )
            factors = (weight * rest, weight * (top - rest), weight * (middle - rest))
            tensors = (sources[i], *(_parts(sources[i], base, i, context) if any(factors[1:]) else ()))
            terms += [
                Term(source=tensor, factor=factor)
                for tensor, factor in zip(tensors, factors, strict=False)
                if factor
            ]
        return WeightedSum(
            shape=tuple(base.shape), terms=tuple(terms), base=base, scale=values.number("lambda")
        )


def _parts(source: Tensor, base: Tensor, i: int, context: TensorContext) -> list[Tensor]:
    parts = cast(
        "Parts", context.get_or_compute(f"{PASSING}singular bands", (i,), lambda: leading_parts(source, base))
    )
    return list(torch.as_tensor(parts).unbind(0))


def leading_parts(source: Tensor, base: Tensor) -> Parts:
    """Return θ₀ + T and θ₀ + M of a matrix: float32, shape (2, rows, columns).

    The base is included, so that a weighted sum can use them like sources. If the source is not finite both
    are θ₀; the source itself still makes the result not finite.
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
    """Return the vectors of the top and of the middle band, given descending singular values."""
    energy = sizes.square()
    before, total = energy.cumsum(0) - energy, energy.sum()
    band = (before * BANDS >= total).long() + (before * BANDS >= 2 * total).long()
    return [vectors[:, band == each] for each in range(BANDS - 1)]


METHODS.register(SingularBands.name)(SingularBands())
