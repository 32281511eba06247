"""Sums over the numbers of compared models, and the measures derived from them.

Sums are additive: those of a layer or a kind are sums over its groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

TOP = (0.1, 0.01)
"""Shares of the largest |δ| of a tensor whose part of ‖δ‖² is measured."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSums:
    """Sums over a group of tensors in float64; models come first, then the base, if any.

    Attributes:
        numbers: numbers per model.
        products: Σ w_i w_j, shape (models + base, models + base), as ``gaps`` and ``equal``.
        gaps: Σ (w_i − w_j)².
        equal: count of equal numbers.
        delta_products: Σ δ_i δ_j of task vectors, shape (models, models), as the following ones; empty
            without a base.
        delta_sizes: Σ |δ_i δ_j|.
        opposed: count of opposite signs.
        shared: count of numbers changed in both models.
        top: Σ δ_i² over the largest numbers of each tensor, shape (models, len(TOP)).
    """

    numbers: int
    products: Floats
    gaps: Floats
    equal: Counts
    delta_products: Floats
    delta_sizes: Floats
    opposed: Counts
    shared: Counts
    top: Floats

    @classmethod
    def zeros(cls, models: int, *, has_base: bool, numbers: int = 0) -> Self:
        """Return sums of 0."""
        rows, deltas = models + has_base, models if has_base else 0
        return cls(
            numbers=numbers,
            products=np.zeros((rows, rows)),
            gaps=np.zeros((rows, rows)),
            equal=np.zeros((rows, rows), dtype=np.int64),
            delta_products=np.zeros((deltas, deltas)),
            delta_sizes=np.zeros((deltas, deltas)),
            opposed=np.zeros((deltas, deltas), dtype=np.int64),
            shared=np.zeros((deltas, deltas), dtype=np.int64),
            top=np.zeros((deltas, len(TOP))),
        )

    def __add__(self, other: ComparisonSums) -> ComparisonSums:
        return ComparisonSums(
            numbers=self.numbers + other.numbers,
            products=self.products + other.products,
            gaps=self.gaps + other.gaps,
            equal=self.equal + other.equal,
            delta_products=self.delta_products + other.delta_products,
            delta_sizes=self.delta_sizes + other.delta_sizes,
            opposed=self.opposed + other.opposed,
            shared=self.shared + other.shared,
            top=self.top + other.top,
        )

    @property
    def n_models(self) -> int:
        """Number of models, without the base."""
        return len(self.products) - self.has_base

    @property
    def has_base(self) -> bool:
        """Whether a base is compared, so that there are task vectors."""
        return len(self.delta_products) > 0

    def norm(self, i: int) -> float:
        """Return ‖w‖ of a model; index -1 is the base, if any."""
        return float(np.sqrt(self.products[i, i]))

    def distance(self, i: int, j: int) -> float:
        """Return ‖w_i − w_j‖."""
        return float(np.sqrt(self.gaps[i, j]))

    def relative(self, i: int, j: int) -> float | None:
        """Return ‖w_i − w_j‖ / ‖w_j‖; None if the denominator is 0."""
        return _ratio(self.distance(i, j), self.norm(j))

    def cosine(self, i: int, j: int) -> float | None:
        """Return the cosine of the weights; None if either is 0."""
        return _ratio(float(self.products[i, j]), self.norm(i) * self.norm(j))

    def equal_share(self, i: int, j: int) -> float | None:
        """Return the share of equal numbers."""
        return _ratio(float(self.equal[i, j]), self.numbers)

    def delta_norm(self, i: int) -> float:
        """Return ‖δ‖ of a model."""
        return float(np.sqrt(self.delta_products[i, i]))

    def change(self, i: int) -> float | None:
        """Return ‖δ‖ / ‖base‖."""
        return _ratio(self.delta_norm(i), self.norm(-1))

    def unchanged(self, i: int) -> float | None:
        """Return the share of numbers equal to the base."""
        return self.equal_share(i, -1)

    def delta_cosine(self, i: int, j: int) -> float | None:
        """Return the cosine of the task vectors; None if either is 0."""
        return _ratio(float(self.delta_products[i, j]), self.delta_norm(i) * self.delta_norm(j))

    def conflict(self, i: int, j: int) -> float | None:
        """Return the share of opposite signs among the numbers that both models changed; 0.5 is chance."""
        return _ratio(float(self.opposed[i, j]), float(self.shared[i, j]))

    def weighted_conflict(self, i: int, j: int) -> float | None:
        """Return the share of opposite signs, weighted by |δ_i δ_j|; 0.5 is chance."""
        share = _ratio(float(self.delta_products[i, j]), float(self.delta_sizes[i, j]))
        return None if share is None else (1 - share) / 2

    def top_share(self, i: int, which: int = 0) -> float | None:
        """Return the share of ‖δ‖² in the largest numbers of each tensor, ``TOP[which]`` of them."""
        return _ratio(float(self.top[i, which]), float(self.delta_products[i, i]))

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Iterate over all pairs of models."""
        return combinations(range(self.n_models), 2)


@dataclass(frozen=True, kw_only=True)
class TensorGroup:
    """The tensors of one kind in one layer.

    Attributes:
        layer: ``block.3``, or ``embedding`` and ``head`` before and after the blocks.
        kind: attention, mlp, norm, embedding, head or other.
        measures: sums over these tensors.
    """

    layer: str
    kind: str
    measures: ComparisonSums


@dataclass(frozen=True, kw_only=True)
class CheckpointComparison:
    """Comparison of models by groups of tensors.

    Attributes:
        models: their references.
        base: reference of their base, if any.
        groups: groups from input to output.
        notes: remarks for the user.
    """

    models: tuple[str, ...]
    base: str | None
    groups: tuple[TensorGroup, ...]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> ComparisonSums:
        """Sums over all tensors."""
        return self._sum(self.groups)

    @property
    def layers(self) -> dict[str, ComparisonSums]:
        """Layer -> sums, from input to output."""
        layers = dict.fromkeys(group.layer for group in self.groups)
        return {layer: self._sum(g for g in self.groups if g.layer == layer) for layer in layers}

    @property
    def kinds(self) -> dict[str, ComparisonSums]:
        """Kind -> sums."""
        kinds = dict.fromkeys(group.kind for group in self.groups)
        return {kind: self._sum(g for g in self.groups if g.kind == kind) for kind in kinds}

    def _sum(self, groups: Iterable[TensorGroup]) -> ComparisonSums:
        start = ComparisonSums.zeros(len(self.models), has_base=self.base is not None)
        return sum((group.measures for group in groups), start=start)


def _ratio(part: float, total: float) -> float | None:
    return None if total == 0 else part / total
