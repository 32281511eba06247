"""Sampling of points as arrays: uniform, Latin hypercube, mixtures of sources, neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Axis, Genome
from kingyo.search.strategies.genes import DECIMALS

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Indices = NDArray[np.intp]
TOTALS = (0.5, 2.0)  # range of the sum of weights of a mixture
FIRST_TOTALS = (0.8, 2.0)  # the same for the initial mixtures of a search
BOLD_STRENGTHS = (0.6, 1.4)  # range of the norm of equal weights in bold mixtures
EVENNESS = 1.5  # concentration of the Dirichlet distribution of weights in a mixture
FIRST_EVENNESS = 12.0  # the same for initial and bold mixtures, with about equal weights
PAIRS = 4  # one mixture in this many has only two sources
STRENGTH_DEVIATION = 0.25  # standard deviation of the log strength of a pruned merge
DRAWS = 50  # random sets of sources from which the one with most new pairs is taken
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are evenly spread at any length
BLOCK_SPREAD = 0.3  # standard deviation of the log weight of a source over blocks, in every other mixture
ONE_HOT = 0.7  # value of a one-hot feature; two categories are at distance 1


class PointSampler:
    """Samples points of a space as arrays, shape (points, axes), in the axes' own units."""

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
        self._is_categorical = np.array([axis.kind == "categorical" for axis in axes])

    @property
    def has_weights(self) -> bool:
        return bool(self._weights)

    @property
    def is_weight(self) -> NDArray[np.bool_]:
        """Which columns of the features are weights, shape (features,)."""
        weights = {index for columns in self._weights.values() for index in columns}
        widths = [len(axis.choices) if axis.kind == "categorical" else 1 for axis in self._axes]
        return np.repeat([index in weights for index in range(len(self._axes))], widths)

    def points(self, genomes: Sequence[Genome]) -> Matrix:
        return np.array(genomes, dtype=np.float64).reshape(len(genomes), len(self._axes))

    def features(self, points: Matrix) -> Matrix:
        unit = (points - self._low) / self._range
        columns: list[Matrix] = []
        for index, axis in enumerate(self._axes):
            if axis.kind == "categorical":
                columns.append(ONE_HOT * (points[:, index, None] == np.arange(len(axis.choices))))
            else:
                columns.append(unit[:, index, None])
        return np.concatenate(columns, axis=1)

    def uniform(self, n: int, rng: np.random.Generator) -> Matrix:
        return self._from_unit_box(rng.random((n, len(self._axes))))

    def latin_hypercube(self, n: int, rng: np.random.Generator) -> Matrix:
        cells = np.stack([rng.permutation(n) for _ in self._axes], axis=1)
        return self._from_unit_box((cells + rng.random(cells.shape)) / n)

    def mixtures(self, n: int, rng: np.random.Generator) -> Matrix:
        """Sample n merges of the sources; every fourth has only two sources. See ``_mixtures_of``."""
        k = len(self._weights)
        sizes = [2 if row % PAIRS == PAIRS - 1 and k > 2 else k for row in range(n)]
        chosen = [rng.permutation(k)[:size] for size in sizes]
        return self._mixtures_of(chosen, _log_range(TOTALS, _stratified(n, rng)), EVENNESS, rng)

    def initial_mixtures(self, n: int, rng: np.random.Generator) -> Matrix:
        """Sample n initial merges, whose sources have about equal weights."""
        chosen = covering_sets(len(self._weights), n, rng)
        return self._mixtures_of(chosen, _log_range(FIRST_TOTALS, _stratified(n, rng)), FIRST_EVENNESS, rng)

    def bold_mixtures(self, rng: np.random.Generator) -> Iterator[Vector]:
        """Yield strong merges without end, for a search in which all scores are equal."""
        k, start, halves = len(self._weights), rng.random(), list[Indices]()
        for number in itertools.count():
            halves = halves or [subset for subset in covering_sets(k, k * k, rng) if len(subset) < k]
            chosen = halves.pop() if halves and number % 2 == 0 else np.arange(k)
            position = np.array([(start + GOLDEN * number) % 1])
            totals = _log_range(BOLD_STRENGTHS, position) * len(chosen) ** 0.5
            yield self._mixtures_of([chosen], totals, FIRST_EVENNESS, rng)[0]

    def pruned(self, points: Matrix, rng: np.random.Generator) -> Matrix:
        """Remove a random number of sources from each point and rescale the others."""
        changed = points.copy()
        for point in changed:
            used = [columns for columns in self._weights.values() if np.any(point[columns] != 0)]
            if len(used) < 2:
                continue
            norms = np.array([np.linalg.norm(point[columns]) / len(columns) ** 0.5 for columns in used])
            removed = rng.permutation(len(used))[: rng.integers(len(used))]
            kept = np.delete(norms, removed)
            growth = (np.linalg.norm(norms) / np.linalg.norm(kept)) ** rng.random()
            growth *= np.exp(STRENGTH_DEVIATION * rng.standard_normal())
            for index, columns in enumerate(used):
                point[columns] *= 0.0 if index in removed else growth
        return self._bounded(changed)

    def differ(self, points: Matrix, known: Matrix, least: float) -> NDArray[np.bool_]:
        """Return which points differ from every known point in a gene: a float by ``least`` of its range."""
        far = np.where(self._is_float, least * self._range, 0.5)
        distinct = np.arange(len(points))
        for other in known:
            distinct = distinct[(np.abs(points[distinct] - other) >= far).any(axis=1)]
        return np.isin(np.arange(len(points)), distinct)

    def _mixtures_of(
        self, chosen: Sequence[Indices], totals: Vector, evenness: float, rng: np.random.Generator
    ) -> Matrix:
        """Sample merges whose weights have given sums.

        Weights are a Dirichlet sample times the sum, because large sums break models. A source has about the
        same weight in all blocks. Axes that are not weights are uniform.
        """
        families = list(self._weights.values())
        points = self.uniform(len(chosen), rng)
        if not families or len(chosen) == 0:
            return points
        for row, total in enumerate(totals):
            shares = np.zeros(len(families))
            shares[chosen[row]] = rng.dirichlet(np.full(len(chosen[row]), evenness))
            for share, columns in zip(shares, families, strict=True):
                spread = BLOCK_SPREAD * (row % 2) * (len(columns) > 1)
                points[row, columns] = share * total * np.exp(spread * rng.standard_normal(len(columns)))
        return self._bounded(points)

    def perturbed(self, centres: Matrix, step: float, genes: float, rng: np.random.Generator) -> Matrix:
        """Mutate on average ``genes`` genes of each point, at least one.

        The step is the standard deviation of a change, as a fraction of the range; at least 1 for integers.
        """
        shape = centres.shape
        changed = rng.random(shape) < genes / shape[1]
        changed[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = True
        move = rng.standard_normal(shape) * step * self._range
        whole = np.sign(move) * np.maximum(1.0, np.round(np.abs(move)))
        move, changed = self._tie_blocks(move, changed, rng)
        moved = centres + np.where(self._is_float, move, whole)
        other = self._low + np.floor(rng.random(shape) * (self._range + 1))
        moved = np.where(self._is_categorical, other, moved)
        return self._bounded(np.where(changed, moved, centres))

    def _bounded(self, points: Matrix) -> Matrix:
        points = np.clip(points, self._low, self._high)
        return np.where(self._is_float, rounded(points, self._low, self._high), points)

    def _tie_blocks(
        self, move: Matrix, changed: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Matrix, NDArray[np.bool_]]:
        move, changed = move.copy(), changed.copy()
        families = [columns for columns in self._weights.values() if len(columns) > 1]
        rows = np.arange(1, len(move), 2)
        for columns in families:
            chosen = rng.random(len(rows)) < 0.5 + 0.5 / len(families)
            for column in columns:
                move[rows, column] = move[rows, columns[0]]
                changed[rows, column] = chosen
        return move, changed

    def _from_unit_box(self, unit: Matrix) -> Matrix:
        whole = self._low + np.minimum(np.floor(unit * (self._range + 1)), self._range)
        floats = rounded(self._low + unit * self._range, self._low, self._high)
        return np.where(self._is_float, floats, whole)


def rounded(points: Matrix, low: Vector, high: Vector) -> Matrix:
    """Round float genes within their bounds, as ``genes`` describes."""
    width = high - low
    return np.clip(low + np.round((points - low) / width, DECIMALS) * width, low, high)


def _stratified(n: int, rng: np.random.Generator) -> Vector:
    return (rng.permutation(n) + rng.random(n)) / n


def _log_range(bounds: tuple[float, float], places: Vector) -> Vector:
    low, high = bounds
    return low * (high / low) ** places


def covering_sets(k: int, n: int, rng: np.random.Generator) -> list[Indices]:
    """Return n subsets of range(k): halves until every pair was in one of them, then all k."""
    is_new, subsets = ~np.eye(k, dtype=bool), list[Indices]()  # is_new: pairs that were in no subset
    for _ in range(n):
        if k < 3 or not is_new.any():
            subsets.append(np.arange(k))
            continue
        candidates = [rng.permutation(k)[: half(k)] for _ in range(DRAWS)]
        best = max(candidates, key=lambda subset: is_new[np.ix_(subset, subset)].sum())
        is_new[np.ix_(best, best)] = False
        subsets.append(best)
    return subsets


def half(k: int) -> int:
    return min(k, max(2, (k + 1) // 2))
