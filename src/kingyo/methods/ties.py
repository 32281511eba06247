"""TIES: trim, elect signs, merge what agrees.

Yadav et al. 2023, "TIES-Merging: Resolving interference when merging models" (arXiv 2306.01708), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kingyo.methods import METHODS
from kingyo.methods.blocks import delta, spans
from kingyo.methods.contract import MethodValues, Noise, Parameter
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, Dense, TaskVector, add_task_vectors


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
        vectors = [
            trimmed(source, base, density, weight)
            for source, density, weight in zip(
                sources, values.each("density"), values.each("weight"), strict=True
            )
        ]
        return add_task_vectors(base, vectors, values, elect=True)


def trimmed(source: Tensor, base: Tensor, density: float, weight: float) -> TaskVector:
    """The task vector with only its largest entries; whole where nothing is to be trimmed."""
    if density >= 1.0 or source.numel() == 0 or weight == 0.0:
        return Dense(source, base)
    return Trimmed(source, base, max(1, int(density * source.numel())))


class Trimmed:
    """A task vector of which exactly the k entries of largest magnitude are kept, of equals the first."""

    def __init__(self, source: Tensor, base: Tensor, k: int) -> None:
        self._source = source.reshape(-1)
        self._base = base.reshape(-1)
        self._least, self._cut = _threshold(self._source, self._base, k)

    def block(self, span: tuple[int, int]) -> Tensor:
        """The entries of a span, in new float32 memory."""
        entries = delta(self._source, self._base, span)
        sizes = entries.abs()
        kept = sizes > self._least
        before_cut = max(0, self._cut - span[0])
        kept[:before_cut] = sizes[:before_cut] >= self._least
        return entries.mul_(kept)


def _threshold(source: Tensor, base: Tensor, k: int) -> tuple[float, int]:
    """The k-th largest magnitude, and the index before which entries of that magnitude are kept."""
    n = source.numel()
    sizes = torch.empty(n, dtype=torch.float32)
    for span in spans(n):
        torch.abs(delta(source, base, span), out=sizes[span[0] : span[1]])
    ordered = sizes.numpy().copy()
    ordered.partition(n - k)
    least = ordered[n - k]
    above = int(np.count_nonzero(ordered[n - k :] > least))
    equals = np.flatnonzero(sizes.numpy() == least)
    return float(least), int(equals[k - above - 1]) + 1


METHODS.register(Ties.name)(Ties())
