"""What is measured of models that are compared: sums over their numbers, from which all else follows.

Sums add up, so those of a layer and those of a kind are sums of the same groups. It reads no weight.
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
"""Shares of the numbers of a tensor, the largest |δ| first, whose part of ‖δ‖² is measured."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSums:
    """Sums over a group of tensors. Models come first, then the base if there is one; all in float64.

    Attributes:
        numbers: how many there are in each model.
        products: Σ w_i w_j of weights.
        gaps: Σ (w_i − w_j)².
        equal: how many numbers are equal in both.
        delta_products: Σ δ_i δ_j of task vectors; of models only, as all below.
        delta_sizes: Σ |δ_i δ_j|.
        opposed: how many have opposite signs.
        shared: how many have changed in both.
        top: Σ δ_i² over the largest numbers of each tensor, for each share of ``TOP``.
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
        """Sums that are still to be made."""
        all_, deltas = models + has_base, models if has_base else 0
        return cls(
            numbers=numbers,
            products=np.zeros((all_, all_)),
            gaps=np.zeros((all_, all_)),
            equal=np.zeros((all_, all_), dtype=np.int64),
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
        """How many models are compared, without the base."""
        return len(self.products) - self.has_base

    @property
    def has_base(self) -> bool:
        """Whether there is a base, and so task vectors."""
        return len(self.delta_products) > 0

    def norm(self, i: int) -> float:
        """‖w‖ of a model; -1 is the base where there is one."""
        return float(np.sqrt(self.products[i, i]))

    def distance(self, i: int, j: int) -> float:
        """‖w_i − w_j‖."""
        return float(np.sqrt(self.gaps[i, j]))

    def relative(self, i: int, j: int) -> float | None:
        """‖w_i − w_j‖ / ‖w_j‖; None when the latter is all zeros."""
        return _ratio(self.distance(i, j), self.norm(j))

    def cosine(self, i: int, j: int) -> float | None:
        """Of the weights; None when either is all zeros."""
        return _ratio(float(self.products[i, j]), self.norm(i) * self.norm(j))

    def equal_share(self, i: int, j: int) -> float | None:
        """The share of numbers that are equal in both."""
        return _ratio(float(self.equal[i, j]), self.numbers)

    def delta_norm(self, i: int) -> float:
        """‖δ‖ of a model."""
        return float(np.sqrt(self.delta_products[i, i]))

    def change(self, i: int) -> float | None:
        """‖δ‖ / ‖base‖."""
        return _ratio(self.delta_norm(i), self.norm(-1))

    def unchanged(self, i: int) -> float | None:
        """The share of numbers that are those of the base."""
        return self.equal_share(i, -1)

    def delta_cosine(self, i: int, j: int) -> float | None:
        """Of the task vectors; None when either is all zeros."""
        return _ratio(float(self.delta_products[i, j]), self.delta_norm(i) * self.delta_norm(j))

    def conflict(self, i: int, j: int) -> float | None:
        """Of the numbers that both have changed, the share with opposite signs: 50 % is chance."""
        return _ratio(float(self.opposed[i, j]), float(self.shared[i, j]))

    def weighted_conflict(self, i: int, j: int) -> float | None:
        """The same, each number weighted by |δ_i δ_j|: 50 % is chance here too."""
        share = _ratio(float(self.delta_products[i, j]), float(self.delta_sizes[i, j]))
        return None if share is None else (1 - share) / 2

    def top_share(self, i: int, which: int = 0) -> float | None:
        """How much of ‖δ‖² the largest numbers of each tensor hold, those of ``TOP[which]``."""
        return _ratio(float(self.top[i, which]), float(self.delta_products[i, i]))

    def pairs(self) -> Iterator[tuple[int, int]]:
        """All pairs of models."""
        return combinations(range(self.n_models), 2)


@dataclass(frozen=True, kw_only=True)
class TensorGroup:
    """The tensors of one kind in one layer.

    Attributes:
        layer: ``block.3``, or ``embedding`` and ``head`` for what lies before and behind the blocks.
        kind: attention, mlp, norm, embedding, head or other.
    """

    layer: str
    kind: str
    measures: ComparisonSums


@dataclass(frozen=True, kw_only=True)
class CheckpointComparison:
    """Models compared, group by group.

    Attributes:
        models: their references.
        base: the reference of their base, if one was named.
        groups: from input to output.
        notes: what a user may want to know and need not mend.
    """

    models: tuple[str, ...]
    base: str | None
    groups: tuple[TensorGroup, ...]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> ComparisonSums:
        """Of all tensors."""
        return self._sum(self.groups)

    @property
    def layers(self) -> dict[str, ComparisonSums]:
        """By layer, from input to output."""
        layers = dict.fromkeys(group.layer for group in self.groups)
        return {layer: self._sum(each for each in self.groups if each.layer == layer) for layer in layers}

    @property
    def kinds(self) -> dict[str, ComparisonSums]:
        """By kind."""
        kinds = dict.fromkeys(group.kind for group in self.groups)
        return {kind: self._sum(each for each in self.groups if each.kind == kind) for kind in kinds}

    def _sum(self, groups: Iterable[TensorGroup]) -> ComparisonSums:
        nothing = ComparisonSums.zeros(len(self.models), has_base=self.base is not None)
        return sum((group.measures for group in groups), start=nothing)


def _ratio(part: float, whole: float) -> float | None:
    return None if whole == 0 else part / whole
