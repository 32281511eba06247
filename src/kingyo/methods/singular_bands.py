"""Task arithmetic with a gain for each band of a task vector's singular values.

The mutation of CycleQD (Kuroki et al. 2024, arXiv 2410.14735) scales the singular components of task vectors,
each by a random number; here a recipe says by how much, band by band. What is decomposed is kept among the
facts, so that a candidate of a search is one pass over the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels import Blend, Term
from kingyo.kernels.blocks import spans
from kingyo.kernels.facts import PASSING
from kingyo.kernels.products import gram_of_columns, side_by_side
from kingyo.late import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.spectral import directions
from kingyo.methods.task_vectors import LAMBDA, WEIGHT

BANDS = 3
_ROWS_AT_ONCE = 1 << 10
Parts = NDArray[np.float32]


def _gain(name: str, doc: str, *, is_searched: bool) -> Parameter:
    """A factor on a source's weight."""
    return Parameter(
        name=name,
        doc=doc,
        default=1.0,
        search_low=0.0 if is_searched else None,
        search_high=1.5 if is_searched else None,
        per_source=True,
    )


class SingularBands:
    """θ₀ + λ Σ wᵢ (tᵢ Tᵢ + mᵢ Mᵢ + rᵢ Rᵢ), where δᵢ = Tᵢ + Mᵢ + Rᵢ, with the gains top, middle and rest.

    Of δ = Σ σₖ uₖ vₖᵀ, from the largest σ down, T holds the components before which less than a third of Σ σ²
    has passed, M those before which less than two thirds have, R the others: so each holds about a third of
    the squared change, T in a few directions (one at least) and R in the most. Gains of 1 give the bits of
    task_arithmetic.

    Tensors that are not matrices (of two rows and columns at least) have gains of 1. A search decomposes each
    source once, and keeps 8 bytes for each entry of its matrices as long as there is room; a candidate then
    costs as much as one of task_arithmetic with three times as many sources. Without room each candidate
    decomposes them anew.
    """

    name = "singular_bands"
    doc = (
        "Task arithmetic with gains for a task vector's strongest singular directions, the next and the rest."
    )
    params = (
        WEIGHT,
        _gain("top", "Gain of the leading directions, a third of the squared change.", is_searched=True),
        _gain("middle", "Gain of the directions after them, the second third.", is_searched=True),
        _gain("rest", "Gain of all others.", is_searched=False),
        LAMBDA,
        Parameter(
            name="spectral",
            kind="bool",
            default=True,
            doc="Merge matrices by bands; false (for embeddings: give it a filter) merges them as "
            "task_arithmetic does.",
        ),
    )
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False
    reproduces = "with as many threads"
    guide = Guide(
        when="A search that shall strengthen what a source learned most of, or drop what it learned by the "
        "way.",
        source="ours, after the mutation of Kuroki et al. 2024, Agent Skill Acquisition for Large Language "
        "Models via CycleQD (arXiv 2410.14735)",
        differs=("Not in mergekit.",),
    )

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Blend:
        """Merge; see ``MergeMethod``."""
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
        return Blend(shape=tuple(base.shape), terms=tuple(terms), base=base, scale=values.number("lambda"))


def _parts(source: Tensor, base: Tensor, i: int, context: TensorContext) -> list[Tensor]:
    found = cast(
        "Parts", context.recall(f"{PASSING}singular bands", (i,), lambda: leading_parts(source, base))
    )
    return list(torch.as_tensor(found).unbind(0))


def leading_parts(source: Tensor, base: Tensor) -> Parts:
    """θ₀ + T and θ₀ + M of a matrix: float32, shape (2, rows, columns).

    On the base, so that a blend adds them as it does a source. Of what is not finite they are θ₀: the source
    itself shows it.
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
    """The vectors of the top and of the middle, by their singular values, descending."""
    energy = sizes.square()
    before, total = energy.cumsum(0) - energy, energy.sum()
    band = (before * BANDS >= total).long() + (before * BANDS >= 2 * total).long()
    return [vectors[:, band == each] for each in range(BANDS - 1)]


METHODS.register(SingularBands.name)(SingularBands())
