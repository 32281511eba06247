"""The items of each task as a process of ability sees them: columns in the order in which they were met.

A task also holds what was last fitted to it, from where the next fit goes on. It knows no search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.abilities.belief import TaskBelief
from kingyo.abilities.field import Observed, Prior, first_prior, fit_field
from kingyo.strategies.history import Told

FAILURE_WEIGHT = 4.0  # a failure counts as so many wrong answers


class TaskItems:
    """One task: its items, and what is believed of it.

    Args:
        weight: how much it counts.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.belief: TaskBelief | None = None
        self._columns: dict[str, int] = {}
        self._fit: _Fit | None = None

    def meet(self, item: str) -> None:
        """Give an item a column, if it has none."""
        self._columns.setdefault(item, len(self._columns))

    def fit(self, points: NDArray[np.float64], known: Sequence[Told], *, learn_shape: bool) -> None:
        """Fit the process to all that is known of this task, from where the last fit ended.

        Args:
            points: of those that are known, as rows of features.
            known: how they did.
            learn_shape: whether its lengths and variance are learned anew.
        """
        self._fit = _Fit(prior=self._prior(points.shape[1]), learn_shape=learn_shape)
        self._believe(points, known, self._fit)

    def state(self) -> dict[str, object]:
        """Return the items, and from where the last fit began."""
        return {
            "items": list(self._columns),
            "fit": None if self._fit is None else self._fit.to_dict(),
        }

    def restore(
        self, state: Mapping[str, object], points: NDArray[np.float64], known: Sequence[Told]
    ) -> None:
        """Fit the process once more from where the last fit began: the same beginning has the same end."""
        items = cast("list[str]", state["items"])
        self._columns = {item: column for column, item in enumerate(items)}
        self._fit = _Fit.from_dict(cast("Mapping[str, object]", state["fit"])) if state["fit"] else None
        if self._fit is not None:
            self._believe(points, known, self._fit)

    def _believe(self, points: NDArray[np.float64], known: Sequence[Told], fit: _Fit) -> None:
        observed, low, high = self._observed(points, known)
        field = fit_field(observed, fit.prior, learn_shape=fit.learn_shape)
        self.belief = TaskBelief(field=field, weight=self.weight, low=low, high=high)

    def _prior(self, n_features: int) -> Prior:
        """What the last fit found; items that are new are of middling difficulty."""
        n_items = len(self._columns)
        if self.belief is None:
            return first_prior(n_features, n_items)
        found = self.belief.field.prior
        new = np.zeros(n_items - len(found.difficulty))
        return replace(found, difficulty=np.concatenate([found.difficulty, new]))

    def _observed(self, points: NDArray[np.float64], known: Sequence[Told]) -> tuple[Observed, float, float]:
        """All that is known, as arrays; scores beyond 0 to 1 are scaled into it, from the bounds returned."""
        shape = (len(known), len(self._columns))
        scores, seen = np.zeros(shape), np.zeros(shape)
        for row, told in enumerate(known):
            mine = [
                (self._columns[item], score) for item, score in told.items.items() if item in self._columns
            ]
            columns = [column for column, _ in mine]
            scores[row, columns] = [score for _, score in mine]
            seen[row, columns] = 1.0
        low, high = min(0.0, float(scores.min(initial=0.0))), max(1.0, float(scores.max(initial=1.0)))
        failures = np.array([FAILURE_WEIGHT if told.score is None else 0.0 for told in known])
        scaled = (scores - low) / (high - low)
        return Observed(points=points, scores=scaled, seen=seen, failures=failures), low, high


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Where a fit of the process to the known points begins."""

    prior: Prior
    learn_shape: bool

    def to_dict(self) -> dict[str, object]:
        prior = self.prior
        return {
            "lengths": prior.lengths.tolist(),
            "variance": float(prior.variance),
            "mean": float(prior.mean),
            "difficulty": prior.difficulty.tolist(),
            "learn_shape": self.learn_shape,
        }

    @staticmethod
    def from_dict(data: Mapping[str, object]) -> _Fit:
        prior = Prior(
            lengths=np.array(data["lengths"], dtype=np.float64),
            variance=cast("float", data["variance"]),
            mean=cast("float", data["mean"]),
            difficulty=np.array(data["difficulty"], dtype=np.float64),
        )
        return _Fit(prior=prior, learn_shape=cast("bool", data["learn_shape"]))
