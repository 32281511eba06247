"""A domain as a search sees it: weights of sources in, scores on a pool of items out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
BASE = "base"
UNIFORM = "uniform"


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Sources, items, and a function that scores merges on all items at once.

    Attributes:
        name: in tables, such as ``worlds/plateau``.
        sources: their names.
        score: points × genes to points × items, in [0, 1]; a gene is the weight of a source, or of a source
            in a block (all blocks of the first source come first). The same point always scores the same.
        n_items: size of the pool, of which each seed draws its splits.
        sizes: how many items fit, validation and test have.
        n_blocks: blocks that a source has a weight for; 1 is one weight per source.
        low, high: bounds of a weight.
        tasks: name of each item's task, where there are several.
        loss: a point and items to the mean −log p of the right answers and its derivatives by the genes;
            None if there is none.
        best_seen: mean score of the best merge that is known, where a search for it would take too long.
    """

    name: str
    sources: tuple[str, ...]
    score: Callable[[Matrix], Matrix]
    n_items: int
    sizes: tuple[int, int, int]
    n_blocks: int = 1
    low: float = 0.0
    high: float = 1.5
    tasks: tuple[str, ...] = field(default=())
    loss: Callable[[Matrix, Sequence[int]], tuple[float, Matrix]] | None = None
    best_seen: float | None = None

    @property
    def n_genes(self) -> int:
        """How many weights there are."""
        return len(self.sources) * self.n_blocks

    def baselines(self) -> Mapping[str, Matrix]:
        """The points that are known before any search: the base, each source, the uniform merge."""
        rows = {BASE: np.zeros(len(self.sources))}
        rows |= dict(zip(self.sources, np.eye(len(self.sources)), strict=True))
        rows[UNIFORM] = np.full(len(self.sources), 1 / len(self.sources))
        return {name: np.repeat(row, self.n_blocks) for name, row in rows.items()}

    @cached_property
    def best(self) -> float:
        """The best mean over the pool that a wide search finds with all of the pool in sight."""
        if self.best_seen is not None:
            return self.best_seen
        return best_known(self.score, len(self.sources), self.n_blocks, self.high)

    def splits(self, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Draw disjoint items for fit, validation and test."""
        order = np.random.default_rng([seed, 7]).permutation(self.n_items)
        fit, validation, test = self.sizes
        return order[:fit], order[fit : fit + validation], order[fit + validation : fit + validation + test]


def best_known(score: Callable[[Matrix], Matrix], n_sources: int, n_blocks: int, high: float) -> float:
    """Return the best mean over the pool that a wide search with hill climbing finds.

    Args:
        score: points × genes to points × items.
        n_sources, n_blocks: of the genome.
        high: upper bound of a weight; the lower one is 0.
    """
    rng = np.random.default_rng(0)
    totals = np.exp(rng.uniform(np.log(0.3), np.log(high * n_sources), 1500))
    wide = rng.dirichlet(np.ones(n_sources), 1500) * totals[:, None]
    rows = np.concatenate([rng.uniform(0, high, (1500, n_sources)), wide, np.eye(n_sources)])
    points = np.clip(np.repeat(rows, n_blocks, axis=1), 0, high)
    means = score(points).mean(axis=1)
    for step in (0.2, 0.1, 0.05, 0.02):
        for _ in range(6):
            keep = np.argsort(-means)[:20]
            points, means = points[keep], means[keep]
            moved = np.repeat(points, 15, axis=0)
            moved = np.clip(moved + step * rng.standard_normal(moved.shape), 0, high)
            points = np.concatenate([points, moved])
            means = np.concatenate([means, score(moved).mean(axis=1)])
    return float(means.max())
