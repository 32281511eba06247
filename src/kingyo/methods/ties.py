"""TIES: trim, elect signs, merge what agrees.

Yadav et al. 2023, "TIES-Merging: Resolving interference when merging models" (arXiv 2306.01708), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.methods import METHODS
from kingyo.methods.blocks import BLOCK, Span, spans
from kingyo.methods.contract import MethodValues, Noise, Parameter
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, Dense, add_task_vectors, taking_part


class Ties:
    """Each task vector keeps its largest entries; signs are elected by Σ wᵢδᵢ; agreeing entries are averaged.

    Of n entries exactly max(1, int(density · n)) are kept; of equal magnitudes the first. A vote of zero
    elects +.
    """

    name = "ties"
    doc = "Trim small changes, elect a sign per entry, average the changes that agree with it (Yadav 2023)."
    params = (
        WEIGHT,
        DENSITY,
        LAMBDA,
        Parameter(
            name="normalize",
            kind="bool",
            default=True,
            doc="Divide each entry by the weights that agree on it (the disjoint mean).",
        ),
    )
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, _noise: Noise, /
    ) -> Tensor:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        active = taking_part(values)
        whole = Dense([sources[i] for i in active], base)
        densities = [values.each("density")[i] for i in active]
        vectors = Trimmed(whole, densities) if min(densities, default=1.0) < 1.0 else whole
        return add_task_vectors(base, vectors, values, elect=True)


class Trimmed:
    """Task vectors of which only the entries of largest magnitude are kept.

    Args:
        whole: the task vectors.
        densities: for each, which part of its n entries is kept: exactly max(1, int(density · n)), of equal
            magnitudes the first.
    """

    def __init__(self, whole: Dense, densities: Sequence[float]) -> None:
        self._whole = whole
        n = whole.n_elements
        counts = [max(1, int(density * n)) for density in densities]
        self._small: Tensor | None = None
        if n <= BLOCK:  # all in one block: it is read once and kept
            entries = whole.block((0, n))
            sizes = entries.abs()
            self._limits = [_limit(row, count) for row, count in zip(sizes.numpy(), counts, strict=True)]
            self._small = self._trim(entries, sizes, 0)
        else:
            self._limits = [_limit(_magnitudes(whole.only(row)), count) for row, count in enumerate(counts)]

    @property
    def scales(self) -> Sequence[float]:
        """All 1: what is kept stays as it is."""
        return self._whole.scales

    def block(self, span: Span) -> Tensor:
        """The entries of a span in float32, one row per source; never write to it."""
        if self._small is not None:
            return self._small[:, span[0] : span[1]]
        entries = self._whole.block(span)
        return self._trim(entries, entries.abs(), span[0])

    def _trim(self, entries: Tensor, sizes: Tensor, start: int) -> Tensor:
        """Zero what is not kept, in place; the sizes become the mask."""
        for row, (least, cut) in zip(sizes.unbind(0), self._limits, strict=True):
            before = max(0, cut - start)
            torch.ge(row[:before], least, out=row[:before])
            torch.gt(row[before:], least, out=row[before:])
        return entries.mul_(sizes)


def _magnitudes(vector: Dense) -> NDArray[np.float32]:
    """|δ| of one source."""
    return np.concatenate([vector.block(span)[0].abs_().numpy() for span in spans(vector.n_elements)])


def _limit(sizes: NDArray[np.float32], kept: int) -> tuple[float, int]:
    """The least magnitude that is kept, and the index before which entries of just that one are kept."""
    n = sizes.size
    if kept >= n:
        return 0.0, n
    largest = np.partition(sizes, n - kept)[n - kept :]
    least = largest[0]
    equals = np.flatnonzero(sizes == least)
    above = int(np.count_nonzero(largest > least))
    return float(least), int(equals[kept - above - 1]) + 1


METHODS.register(Ties.name)(Ties())
