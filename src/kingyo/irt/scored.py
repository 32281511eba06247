"""The scores that there are of a matrix with gaps: where most is gaps, nothing is computed for them.

What a row or a column stands for, and what is fitted to the scores, is the business of whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoredEntries:
    """Scores one after the other, row by row.

    Attributes:
        shape: rows and columns of the matrix.
        rows, columns: where each score stands in it.
        scores: as many.
    """

    shape: tuple[int, int]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    scores: Vector

    @staticmethod
    def of(matrix: Matrix, seen: Matrix | NDArray[np.bool_]) -> ScoredEntries:
        """Take what a matrix holds where ``seen``, of the same shape, is not 0."""
        rows, columns = np.nonzero(seen)
        shape = (matrix.shape[0], matrix.shape[1])
        return ScoredEntries(shape=shape, rows=rows, columns=columns, scores=matrix[rows, columns])

    def by_row(self, values: Vector) -> Vector:
        """Add up values, one for each score, over each row."""
        return np.asarray(np.bincount(self.rows, values, self.shape[0]), dtype=np.float64)

    def by_column(self, values: Vector) -> Vector:
        """Add up values, one for each score, over each column."""
        return np.asarray(np.bincount(self.columns, values, self.shape[1]), dtype=np.float64)
