"""Many points of a space at once, as arrays: random ones, spread ones, neighbours, features in a box."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.strategies.genes import DECIMALS
from kingyo.types import Axis, Genome

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Places = NDArray[np.intp]
TOTALS = (0.5, 2.0)  # of the weights of a mixture; a source as it is has the weight 1
FIRST_TOTALS = (0.8, 2.0)  # of the mixtures that a search begins with
BOLD_STRENGTHS = (0.6, 1.4)  # of those that it tries while it sees no difference: norms of even weights
EVENNESS = 1.5  # of a mixture's sources: the concentration of a Dirichlet distribution
FIRST_EVENNESS = 12.0  # of first and bold mixtures, whose sources have about equal weights
PAIRS = 4  # one mixture in four is of two sources alone
STRENGTHENED = 0.25  # of the logarithm of a pruned merge's strength: the standard deviation
DRAWS = 50  # sets of sources; the one that brings most new pairs together is taken
GOLDEN = (5**0.5 - 1) / 2  # steps of this size, modulo 1, spread a series evenly however long it gets
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
        chosen = [rng.permutation(k)[:size] for size in sizes]
        return self._mixed(chosen, _totals(TOTALS, _stratified(n, rng)), EVENNESS, rng)

    def first_mixtures(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n merges to begin with, whose sources have about equal weights.

        The first are of half of the sources each, until every two have been in one merge or n is reached; the
        others are of all sources. So pairs that need each other meet, and what harms is left out in some.
        See ``_mixed``.
        """
        chosen = covering_sets(len(self._weights), n, rng)
        return self._mixed(chosen, _totals(FIRST_TOTALS, _stratified(n, rng)), FIRST_EVENNESS, rng)

    def bold_mixtures(self, rng: np.random.Generator) -> Iterator[Vector]:
        """Draw strong merges, one by one without end, for a search that sees no difference.

        Every other merge is of all sources. The others are of half of them: in turn every two sources are
        brought together. Merges in a row are of all strengths of the range, which are norms of even weights.
        See ``_mixed``.
        """
        k, start, halves = len(self._weights), rng.random(), list[Places]()
        for number in itertools.count():
            halves = halves or [each for each in covering_sets(k, k * k, rng) if len(each) < k]
            chosen = halves.pop() if halves and number % 2 == 0 else np.arange(k)
            place = np.array([(start + GOLDEN * number) % 1])
            totals = _totals(BOLD_STRENGTHS, place) * len(chosen) ** 0.5
            yield self._mixed([chosen], totals, FIRST_EVENNESS, rng)[0]

    def pruned(self, points: Matrix, rng: np.random.Generator) -> Matrix:
        """Leave out some sources of each point, or none, and strengthen or weaken the others together.

        Their strength, the norm of the weights, comes to lie between what it was and that of the whole point,
        times a factor near 1. Points with one source or none stay as they are.
        """
        found = points.copy()
        for point in found:
            has = [columns for columns in self._weights.values() if np.any(point[columns] != 0)]
            if len(has) < 2:
                continue
            amounts = np.array([np.linalg.norm(point[columns]) / len(columns) ** 0.5 for columns in has])
            left_out = rng.permutation(len(has))[: rng.integers(len(has))]
            kept = np.delete(amounts, left_out)
            growth = (np.linalg.norm(amounts) / np.linalg.norm(kept)) ** rng.random()
            growth *= np.exp(STRENGTHENED * rng.standard_normal())
            for place, columns in enumerate(has):
                point[columns] *= 0.0 if place in left_out else growth
        return self._bounded(found)

    def apart(self, points: Matrix, known: Matrix, least: float) -> NDArray[np.bool_]:
        """Return which points differ enough from each known one: in one float, or in any other gene.

        Args:
            points, known: what is compared, as rows.
            least: the share of an axis' range by which a float must differ.
        """
        far = np.where(self._is_float, least * self._range, 0.5)
        left = np.arange(len(points))
        for each in known:
            left = left[(np.abs(points[left] - each) >= far).any(axis=1)]
        return np.isin(np.arange(len(points)), left)

    def _mixed(
        self, chosen: Sequence[Places], totals: Vector, evenness: float, rng: np.random.Generator
    ) -> Matrix:
        """Draw merges whose weights have a moderate sum, however many sources there are.

        Uniform points of the box have sums that grow with the number of sources, and large sums break models.
        Here the sum is given, and its split a Dirichlet draw. A source has about the same weight in all
        blocks. Axes that are no weights of sources are drawn uniformly.

        Args:
            chosen: of each merge, the places of its sources.
            totals: the sum of each.
            evenness: the concentration of the Dirichlet distribution.
            rng: for what is drawn.
        """
        families = list(self._weights.values())
        points = self.random(len(chosen), rng)
        if not families or len(chosen) == 0:
            return points
        for row, total in enumerate(totals):
            shares = np.zeros(len(families))
            shares[chosen[row]] = rng.dirichlet(np.full(len(chosen[row]), evenness))
            for share, columns in zip(shares, families, strict=True):
                spread = BLOCK_SPREAD * (row % 2) * (len(columns) > 1)
                points[row, columns] = share * total * np.exp(spread * rng.standard_normal(len(columns)))
        return self._bounded(points)

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
        return self._bounded(np.where(changed, moved, centres))

    def _bounded(self, points: Matrix) -> Matrix:
        """Points within the bounds, their floats rounded."""
        points = np.clip(points, self._low, self._high)
        return np.where(self._is_float, rounded(points, self._low, self._high), points)

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


def _stratified(n: int, rng: np.random.Generator) -> Vector:
    """One number of each n-th of 0 to 1, in random order."""
    return (rng.permutation(n) + rng.random(n)) / n


def _totals(bounds: tuple[float, float], places: Vector) -> Vector:
    """Sums of weights, or strengths, at places from 0 to 1 between two bounds, evenly by their logarithm."""
    low, high = bounds
    return low * (high / low) ** places


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
