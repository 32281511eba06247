"""An interval around a score, and scores as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ROUNDING = 1e-9
"""Scores that differ by less are equal."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean score, or a difference of two, with its confidence interval.

    Attributes:
        score: the mean over the items, or the mean of the differences.
        n: number of items.
        low, high: bounds, both inclusive, at the requested confidence level.
        method: how the bounds were computed.
    """

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
    ]

    def in_percent(self, unit: str = "", sign: Literal["", "+"] = "") -> str:
        """Return "71.5 [65.0, 77.2]", with a unit after the score; "+" shows the sign of differences."""
        score, low, high = (f"{100 * value:{sign}.1f}" for value in (self.score, self.low, self.high))
        return f"{score}{unit} [{low}, {high}]"

    def plain(self, sign: Literal["", "+"] = "") -> str:
        """Return "0.8124 [0.771, 0.8493]", for measures that are no percentage."""
        score, low, high = (f"{value:{sign}.4g}" for value in (self.score, self.low, self.high))
        return f"{score} [{low}, {high}]"


def percent(value: float) -> str:
    """Return a score as "42.1 %"."""
    return f"{100 * value:.1f} %"


def mean_name(weights: Iterable[float]) -> str:
    """Return ``mean``, or ``weighted mean`` if the weights differ."""
    return "weighted mean" if len(set(weights)) > 1 else "mean"


def interval_json(value: Interval | None) -> dict[str, object] | None:
    """Return score, n, low and high."""
    if value is None:
        return None
    return {"score": value.score, "n": value.n, "low": value.low, "high": value.high}
