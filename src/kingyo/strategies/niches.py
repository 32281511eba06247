"""Archive with implicit fitness sharing, as in M2N2.

Each item has a limited capacity that members share, so another member that solves what all others solve is
worth little, and a specialist keeps its place beside better generalists.

Abrantes, Lange and Tang 2025, Competition and Attraction Improve Model Fusion, GECCO 2025, arXiv:2508.16204;
implicit fitness sharing: Smith, Forrest and Perelson 1993.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DECIMALS = 9  # of a shared fitness: its last bits differ between machines


@dataclass(frozen=True, kw_only=True)
class Member:
    """A genome that can become a parent.

    Attributes:
        number: number of its trial; below 0 for a known point.
        genes: shape (axes,).
        scores: one per column of the archive; NaN for items that were not scored.
        value: mean score, or an estimate of it.
    """

    number: int
    genes: Array
    scores: Array
    value: float


class Niches:
    """Archive of at most ``population`` members that share fitness item by item.

    A missing score counts as the member's value: the same guess for all missing items makes no member a
    specialist. Scores are measured from 0, or from the lowest score on the item if that is negative.

    Args:
        population: most members.
        alpha: strength of competition; with 0 the fitness is the sum over items of score times best score.
    """

    def __init__(self, population: int, alpha: float) -> None:
        self._population = population
        self._alpha = alpha
        self._columns: dict[str, int] = {}
        self._weights: Mapping[str, float] = {}
        self.members: list[Member] = []

    def set_item_weights(self, weights: Mapping[str, float]) -> None:
        """Set the weight of items by name; the default is 1."""
        self._weights = weights

    def score_row(self, items: Mapping[str, float]) -> Array:
        """Return scores by column; new items get new columns."""
        for item in items:
            self._columns.setdefault(item, len(self._columns))
        scores = np.full(len(self._columns), np.nan)
        scores[[self._columns[item] for item in items]] = list(items.values())
        return scores

    def add(self, member: Member) -> None:
        """Add a member; in a full archive the member with the lowest shared fitness leaves, the oldest of
        ties.
        """
        self.members.append(member)
        if len(self.members) > self._population:
            del self.members[int(np.argmin(self.fitness()))]

    def fitness(self) -> Array:
        """Return the shared fitness F_k of each member, shape (members,)."""
        fitness: Array = self.shares().sum(axis=1)
        return np.round(fitness, DECIMALS)

    def shares(self) -> Array:
        """Return f_kj × weight of item j, shape (members, items)."""
        f = share_fitness(self._scores(), self._alpha)
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


def share_fitness(s: Array, alpha: float) -> Array:
    """Return f_kj = c_j s_kj / z_j^α with z_j = Σ_k s_kj: the share of member k in item j.

    It is the paper's shared fitness, item by item. The capacity c_j is the best score on the item in the
    archive: 1 for items that are right or wrong, and less if no member reaches 1. An item on which all score
    0 adds nothing.

    Args:
        s: scores, shape (members, items).
        alpha: exponent of the competition.
    """
    z = s.sum(axis=0)
    capacity = s.max(axis=0, initial=0.0)
    return np.divide(s * capacity, z**alpha, out=np.zeros_like(s), where=z > 0)


def attraction(f: Array, first: int) -> Array:
    """Return Σ_j max(0, f_kj − f_1j) for each member k: what it could add to the first parent."""
    return np.maximum(0.0, f - f[first]).sum(axis=1)
