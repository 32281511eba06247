"""Many points of a space at once, as arrays: random ones, spread ones, neighbours, features in a box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.strategies.genes import DECIMALS
from kingyo.types import Axis, Genome

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Places = NDArray[np.intp]
TOTALS = (0.5, 2.0)  # of the weights of a mixture; a source as it is has the weight 1
FIRST_TOTALS = (0.8, 2.0)  # of the mixtures that a search begins with
BOLD_TOTALS = (1.0, 3.0)  # of those that it tries while it sees no difference
EVENNESS = 1.5  # of a mixture's sources: the concentration of a Dirichlet distribution
FIRST_EVENNESS = 12.0  # of first and bold mixtures, whose sources have about equal weights
PAIRS = 4  # one mixture in four is of two sources alone
DRAWS = 50  # sets of sources; the one that brings most new pairs together is taken
BLOCK_SPREAD = 0.3  # of the logarithm of a source's weight over blocks, in every other mixture
APART = 0.7  # side of the one-hot corner of a category: two categories are 1 apart


class Box:
    """A space as an array: rows are points, columns genes in the axes' own units.

    Args:
        axes: the space.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = tuple(axes)
        self._low = np.array([axis.low for axis in axes])
        self._high = np.array([axis.high for axis in axes])
        self._range = self._high - self._low
        self._is_float = np.array([axis.kind == "float" for axis in axes])
        self._weights: dict[str, list[int]] = {}
        for index, axis in enumerate(axes):
            if axis.kind == "float" and axis.neutral == 0.0:
                self._weights.setdefault(axis.family or axis.name, []).append(index)
        self._is_named = np.array([axis.kind == "categorical" for axis in axes])

    @property
    def has_weights(self) -> bool:
        """Whether axes are weights of sources, which ``mixtures`` are made of."""
        return bool(self._weights)

    @property
    def is_weight(self) -> NDArray[np.bool_]:
        """Of each column of the features, whether it is a weight."""
        weights = {index for columns in self._weights.values() for index in columns}
        return np.array(
            [
                index in weights
                for index, axis in enumerate(self._axes)
                for _ in range(len(axis.choices) if axis.kind == "categorical" else 1)
            ]
        )

    def points(self, genomes: Sequence[Genome]) -> Matrix:
        """Return genomes as rows."""
        return np.array(genomes, dtype=np.float64).reshape(len(genomes), len(self._axes))

    def genome(self, point: NDArray[np.float64]) -> Genome:
        """Return a row as a genome."""
        return tuple(float(gene) for gene in point)

    def features(self, points: Matrix) -> Matrix:
        """Map points into the unit box, where distances mean something; a category gets one column each."""
        unit = (points - self._low) / self._range
        columns: list[Matrix] = []
        for index, axis in enumerate(self._axes):
            if axis.kind == "categorical":
                columns.append(APART * (points[:, index, None] == np.arange(len(axis.choices))))
            else:
                columns.append(unit[:, index, None])
        return np.concatenate(columns, axis=1)

    def random(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n points uniformly."""
        return self._snapped(rng.random((n, len(self._axes))))

    def spread(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n points by Latin hypercube sampling (McKay et al. 1979): each n-th of every axis has one."""
        cells = np.stack([rng.permutation(n) for _ in self._axes], axis=1)
        return self._snapped((cells + rng.random(cells.shape)) / n)

    def mixtures(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n merges of the sources; every fourth is of two sources alone. See ``_mixed``."""
        k = len(self._weights)
        sizes = [2 if row % PAIRS == PAIRS - 1 and k > 2 else k for row in range(n)]
        return self._mixed([rng.permutation(k)[:size] for size in sizes], EVENNESS, TOTALS, rng)

    def first_mixtures(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n merges to begin with, whose sources have about equal weights.

        The first are of half of the sources each, until every two have been in one merge or n is reached; the
        others are of all sources. So pairs that need each other meet, and what harms is left out in some.
        See ``_mixed``.
        """
        return self._mixed(covering_sets(len(self._weights), n, rng), FIRST_EVENNESS, FIRST_TOTALS, rng)

    def bold_mixtures(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n strong merges, of all or half of the sources, for a search that sees no difference."""
        k = len(self._weights)
        sizes = rng.choice([k, half(k)], n)
        return self._mixed([rng.permutation(k)[:size] for size in sizes], FIRST_EVENNESS, BOLD_TOTALS, rng)

    def _mixed(
        self,
        chosen: Sequence[Places],
        evenness: float,
        totals: tuple[float, float],
        rng: np.random.Generator,
    ) -> Matrix:
        """Draw merges whose weights have a moderate sum, however many sources there are.

        Uniform points of the box have sums that grow with the number of sources, and large sums break models.
        Here the sum is log-uniform, stratified over the merges, and its split a Dirichlet draw.
        A source has about the same weight in all blocks. Axes that are no weights of sources are drawn
        uniformly.

        Args:
            chosen: of each merge, the places of its sources.
            evenness: the concentration of the Dirichlet distribution.
            totals: the least and the greatest sum.
            rng: for what is drawn.
        """
        n, families = len(chosen), list(self._weights.values())
        points = self.random(n, rng)
        if not families or n == 0:
            return points
        places = (rng.permutation(n) + rng.random(n)) / n
        low, high = totals
        for row, total in enumerate(low * (high / low) ** places):
            shares = np.zeros(len(families))
            shares[chosen[row]] = rng.dirichlet(np.full(len(chosen[row]), evenness))
            for share, columns in zip(shares, families, strict=True):
                spread = BLOCK_SPREAD * (row % 2) * (len(columns) > 1)
                points[row, columns] = share * total * np.exp(spread * rng.standard_normal(len(columns)))
        points = np.clip(points, self._low, self._high)
        return np.where(self._is_float, rounded(points, self._low, self._high), points)

    def near(self, centres: Matrix, step: float, genes: float, rng: np.random.Generator) -> Matrix:
        """Change some genes of each point.

        Args:
            centres: the points.
            step: standard deviation of a change, as a share of the axis' range; at least 1 for whole numbers.
            genes: how many genes change on average; one does at least.
            rng: for what changes, and how.
        """
        shape = centres.shape
        changed = rng.random(shape) < genes / shape[1]
        changed[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = True
        move = rng.standard_normal(shape) * step * self._range
        whole = np.sign(move) * np.maximum(1.0, np.round(np.abs(move)))
        move, changed = self._together(move, changed, rng)
        moved = centres + np.where(self._is_float, move, whole)
        other = self._low + np.floor(rng.random(shape) * (self._range + 1))
        moved = np.where(self._is_named, other, moved)
        bounded = np.clip(np.where(changed, moved, centres), self._low, self._high)
        return np.where(self._is_float, rounded(bounded, self._low, self._high), bounded)

    def _together(
        self, move: Matrix, changed: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Matrix, NDArray[np.bool_]]:
        """In every other row give all blocks of a source the same change: a step in the source's weight."""
        move, changed = move.copy(), changed.copy()
        families = [columns for columns in self._weights.values() if len(columns) > 1]
        rows = np.arange(1, len(move), 2)
        for columns in families:
            chosen = rng.random(len(rows)) < 0.5 + 0.5 / len(families)
            for column in columns:
                move[rows, column] = move[rows, columns[0]]
                changed[rows, column] = chosen
        return move, changed

    def _snapped(self, unit: Matrix) -> Matrix:
        """Points of the unit box as points of the space; every whole number is equally likely."""
        whole = self._low + np.minimum(np.floor(unit * (self._range + 1)), self._range)
        floats = rounded(self._low + unit * self._range, self._low, self._high)
        return np.where(self._is_float, floats, whole)


def rounded(points: Matrix, low: Vector, high: Vector) -> Matrix:
    """Float genes between their bounds, rounded as ``genes`` says, and never beyond a bound by that.

    Args:
        points: one gene per axis, of one point or, row by row, of many.
        low, high: the bounds of each axis.
    """
    width = high - low
    return np.clip(low + np.round((points - low) / width, DECIMALS) * width, low, high)


def covering_sets(k: int, n: int, rng: np.random.Generator) -> list[Places]:
    """Return n sets of some of k things: halves, until every two were together in one, then all k.

    Each half is the best of 50 that are drawn: that which brings most new pairs together. Of two things or
    fewer, all sets have all.
    """
    apart, found = ~np.eye(k, dtype=bool), list[Places]()
    for _ in range(n):
        if k < 3 or not apart.any():
            found.append(np.arange(k))
            continue
        drawn = [rng.permutation(k)[: half(k)] for _ in range(DRAWS)]
        found.append(max(drawn, key=lambda each: apart[np.ix_(each, each)].sum()))
        apart[np.ix_(found[-1], found[-1])] = False
    return found


def half(k: int) -> int:
    """Return half of k, rounded up, and 2 at least where there are as many."""
    return min(k, max(2, (k + 1) // 2))
