"""The entries of a matrix with gaps, in sparse form, so that gaps cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoredEntries:
    """The scores of a matrix, row by row.

    Attributes:
        shape: rows and columns of the matrix.
        rows, columns: position of each score.
        scores: the scores.
    """

    shape: tuple[int, int]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    scores: Vector

    @staticmethod
    def of(matrix: Matrix, seen: Matrix | NDArray[np.bool_]) -> ScoredEntries:
        """Return the entries of a matrix where ``seen``, of the same shape, is not 0."""
        rows, columns = np.nonzero(seen)
        shape = (matrix.shape[0], matrix.shape[1])
        return ScoredEntries(shape=shape, rows=rows, columns=columns, scores=matrix[rows, columns])

    def by_row(self, values: Vector) -> Vector:
        """Sum values, one per score, over each row."""
        return np.asarray(np.bincount(self.rows, values, self.shape[0]), dtype=np.float64)

    def by_column(self, values: Vector) -> Vector:
        """Sum values, one per score, over each column."""
        return np.asarray(np.bincount(self.columns, values, self.shape[1]), dtype=np.float64)
