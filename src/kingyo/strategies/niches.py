"""An archive whose members compete for items as animals compete for food: who eats what others cannot, lives.

Abrantes, Lange, Tang 2025, Competition and Attraction Improve Model Fusion, GECCO 2025, arXiv:2508.16204.
An item feeds a limited number of members, so one more that answers what all others answer is worth little,
and a specialist keeps its place beside better generalists: implicit fitness sharing (Smith, Forrest, Perelson
1993). It knows no trial, no axis and no history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DECIMALS = 9  # of a shared fitness, so that its last bits, which differ between machines, decide nothing


@dataclass(frozen=True, kw_only=True)
class Member:
    """A genome that may have children.

    Attributes:
        number: of its trial; below 0 for a point that was known before.
        genes: one number per axis.
        scores: one per column of the archive, NaN for items that it was not scored on.
        value: the mean of its scores, or an estimate of it.
    """

    number: int
    genes: Array
    scores: Array
    value: float


class Niches:
    """Up to ``population`` members and their scores, items × members.

    A member that was not scored on an item counts there as its value, which is the evaluator's estimate for
    all items: a guess that is the same on every such item makes nobody a specialist. Scores are measured
    from 0, or from the archive's lowest on that item where that is below 0.

    Args:
        population: how many members there is room for.
        alpha: how strongly they compete, 0 for not at all: then the fitness is the sum of scores, each times
            the best score on its item (1 where anybody is right).
    """

    def __init__(self, population: int, alpha: float) -> None:
        self._population = population
        self._alpha = alpha
        self._columns: dict[str, int] = {}
        self._weights: Mapping[str, float] = {}
        self.members: list[Member] = []

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Let items feed more or less than 1, by their names."""
        self._weights = weights

    def row(self, items: Mapping[str, float]) -> Array:
        """Scores by column; items that are seen for the first time become new columns."""
        for item in items:
            self._columns.setdefault(item, len(self._columns))
        scores = np.full(len(self._columns), np.nan)
        scores[[self._columns[item] for item in items]] = list(items.values())
        return scores

    def add(self, member: Member) -> None:
        """Let a member compete with all others; the least in shared fitness leaves, of equals the oldest."""
        self.members.append(member)
        if len(self.members) > self._population:
            del self.members[int(np.argmin(self.fitness()))]

    def fitness(self) -> Array:
        """F_k of each member."""
        fitness: Array = self.shares().sum(axis=1)
        return np.round(fitness, DECIMALS)

    def shares(self) -> Array:
        """f_kj, members × items, each item times its weight."""
        f = shared(self._scores(), self._alpha)
        if self._weights:
            f = f * np.array([self._weights.get(item, 1.0) for item in self._columns])[: f.shape[1]]
        return f

    def _scores(self) -> Array:
        n_items = max((member.scores.size for member in self.members), default=0)
        scores = np.empty((len(self.members), n_items))
        for row, member in zip(scores, self.members, strict=True):
            row[: member.scores.size] = member.scores
            row[member.scores.size :] = np.nan
        values = np.array([member.value for member in self.members])
        filled = np.where(np.isnan(scores), values[:, None], scores)
        return filled - np.minimum(0.0, filled.min(axis=0, initial=0.0))


def shared(s: Array, alpha: float) -> Array:
    """f_kj = c_j s_kj / z_j^α, z_j = Σ_k s_kj: what member k gets of item j (the paper's fitness, by item).

    The capacity c_j of an item is the best score in the archive: 1 for items that are right or wrong, and no
    more than anybody could get where scores are continuous. An item that feeds nobody is worth 0.
    """
    z = s.sum(axis=0)
    capacity = s.max(axis=0, initial=0.0)
    return np.divide(s * capacity, z**alpha, out=np.zeros_like(s), where=z > 0)


def attraction(f: Array, first: int) -> Array:
    """Σ_j max(0, f_kj − f_1j): how much each member could add to the first parent."""
    return np.maximum(0.0, f - f[first]).sum(axis=1)
