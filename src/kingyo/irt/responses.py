"""The matrix trials × items of one search, with gaps where nothing was scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kingyo.irt.rasch import Abilities, fit

Matrix = NDArray[np.float64]


class Responses:
    """A growing matrix of scores by trial and item; gaps are NaN.

    Args:
        items: the names of all items, in order.
    """

    def __init__(self, items: Sequence[str]) -> None:
        self._columns = {item: column for column, item in enumerate(items)}
        self._rows: dict[int, int] = {}
        self._scores: Matrix = np.full((64, len(items)), np.nan)
        self._fitted: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Abilities, Matrix]] = {}

    @property
    def n_items(self) -> int:
        """Return the number of items, scored or not."""
        return len(self._columns)

    def latest(self, n: int) -> list[int]:
        """Return the last n trials that have scores, in order of arrival."""
        return list(islice(reversed(self._rows), n))[::-1]

    def fitted(self, keys: Sequence[int], columns: Sequence[int]) -> tuple[Abilities, Matrix]:
        """Fit the Rasch model to these trials and items; return it with their scores.

        Fits are cached until scores are added: scoring a generation and choosing the items of the next one
        use the same fit.
        """
        key = (tuple(keys), tuple(columns))
        if key not in self._fitted:
            matrix = self.matrix(keys)[:, list(columns)]
            self._fitted[key] = fit(matrix), matrix
        return self._fitted[key]

    def add(self, key: int, scores: Mapping[str, float]) -> None:
        """Add scores of a trial; later calls may add more."""
        self._fitted.clear()
        row = self._rows.setdefault(key, len(self._rows))
        if row == len(self._scores):
            self._scores = np.concatenate([self._scores, np.full_like(self._scores, np.nan)])
        self._scores[row, [self._columns[item] for item in scores]] = list(scores.values())

    def matrix(self, keys: Sequence[int]) -> Matrix:
        """Return a copy of the rows of these trials; a trial without scores is a row of gaps."""
        matrix = np.full((len(keys), self.n_items), np.nan)
        for place, key in enumerate(keys):
            row = self._rows.get(key)
            if row is not None:
                matrix[place] = self._scores[row]
        return matrix
