"""Intervals around scores, scores as text, and checks of arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.errors import KingyoError

Array = NDArray[np.float64]
NORMAL = NormalDist()


def finite_array(name: str, values: Sequence[float]) -> Array:
    """Return values as an array."""
    array = np.array(values, dtype=np.float64)
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise KingyoError(
            name,
            expected="one finite number or more",
            received=f"{list(values)[:5]}",
            remedy="Leave out items that could not be scored.",
        )
    return array


def is_binary(values: Array) -> bool:
    """Return whether all values are 0 or 1."""
    return bool(np.all((values == 0) | (values == 1)))


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal variable is in [-z, z] with probability ``level``."""
    return NORMAL.inv_cdf((1 + level) / 2)


ROUNDING = 1e-9
"""Scores that differ by less are equal."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean score, or a difference of two, with its confidence interval."""

    score: float
    n: int
    low: float
    high: float
    method: Literal[
        "wilson",
        "gaffke",
        "newcombe",
        "beta-binomial",
        "normal",
        "simulated",
        "student",
        "mover",
        "bootstrap",
        "bradley-terry",
    ]

    def in_percent(self, unit: str = "", sign: Literal["", "+"] = "") -> str:
        """Return "71.5 [65.0, 77.2]", with a unit after the score; "+" shows the sign of differences."""
        score, low, high = (f"{100 * value:{sign}.1f}" for value in (self.score, self.low, self.high))
        return f"{score}{unit} [{low}, {high}]"

    def plain(self, sign: Literal["", "+"] = "") -> str:
        """Return "0.8124 [0.771, 0.8493]", for measures that are no percentage."""
        score, low, high = (f"{value:{sign}.4g}" for value in (self.score, self.low, self.high))
        return f"{score} [{low}, {high}]"


def mean_name(weights: Iterable[float]) -> str:
    """Return ``mean``, or ``weighted mean`` if the weights differ."""
    return "weighted mean" if len(set(weights)) > 1 else "mean"


def interval_json(value: Interval | None) -> dict[str, object] | None:
    """Return score, n, low and high."""
    if value is None:
        return None
    return {"score": value.score, "n": value.n, "low": value.low, "high": value.high}
