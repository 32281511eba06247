"""Many points of a space at once, as arrays: random ones, spread ones, neighbours, features in a box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.strategies.genes import DECIMALS
from kingyo.types import Axis, Genome

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
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
        self._is_named = np.array([axis.kind == "categorical" for axis in axes])

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
        moved = centres + np.where(self._is_float, move, whole)
        other = self._low + np.floor(rng.random(shape) * (self._range + 1))
        moved = np.where(self._is_named, other, moved)
        bounded = np.clip(np.where(changed, moved, centres), self._low, self._high)
        return np.where(self._is_float, rounded(bounded, self._low, self._high), bounded)

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
