"""Predict what another source adds to a merge: a Bayesian linear model of measured gains.

A gain is modelled as  μ + f · β + u_source + noise,  with Gaussian priors. μ is common to all sources, f are
features of the source given the sources chosen so far (standardised), and u is what else the source brings. A
source that was measured before is predicted near its earlier gains, one that was not by its features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kingyo.stats import Groups, Interval
from kingyo.stats.groups import grouped_difference
from kingyo.stats.intervals import normal_quantile

Vector = NDArray[np.float64]

MEAN, WEIGHT, OWN, DRIFT = 0.05, 0.03, 0.08, 0.03
"""Prior standard deviations of μ, of each entry of β and of u, and of a gain between two sets of sources."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A difference of mean scores, paired by item, with its 95% interval and its standard error."""

    interval: Interval
    error: float

    @classmethod
    def normal(cls, mean: float, error: float, n: int = 0) -> Gain:
        """Return a gain with a normal distribution, such as a prediction, which rests on no items."""
        reach = normal_quantile(0.95) * error
        low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
        return cls(interval=Interval(score=mean, n=n, low=low, high=high, method="normal"), error=error)

    @property
    def mean(self) -> float:
        return self.interval.score

    @property
    def n(self) -> int:
        return self.interval.n


def paired_gain(one: Sequence[float], other: Sequence[float], groups: Sequence[str] = ()) -> Gain:
    """Return how much better one is than other on the same items, scored from 0 to 1.

    Its variance is that of ``Groups``: a few equal scores are not certain.

    Args:
        one, other: a score per item.
        groups: the group of each item (``Item.group``), empty for an item on its own; default: all are.

    Example:
        >>> gain = paired_gain([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0])
        >>> gain.mean, round(gain.error, 2), gain.n
        (0.25, 0.28, 4)
    """
    gaps = np.subtract(one, other)
    if len(gaps) == 0:
        return Gain.normal(0.0, 1.0)
    own = Groups.of(groups) or Groups(numbers=np.arange(len(gaps)))
    return Gain(interval=grouped_difference(gaps, own)[0], error=math.sqrt(own.variance(gaps)))


class GainModel:
    """The posterior of gains after measurements.

    Args:
        n_sources: number of sources.
        n_features: number of features of a source.
    """

    def __init__(self, n_sources: int, n_features: int) -> None:
        self._n_sources = n_sources
        priors = [MEAN, *[WEIGHT] * n_features, *[OWN] * n_sources]
        self._precision = np.diag(1 / np.square(priors))
        self._weighted = np.zeros(len(priors))

    def learn(self, source: int, features: Sequence[float], gain: Gain) -> None:
        row, weight = self._row(source, features), 1 / (gain.error**2 + DRIFT**2)
        self._precision = self._precision + weight * np.outer(row, row)
        self._weighted = self._weighted + weight * gain.mean * row

    def predict(self, source: int, features: Sequence[float]) -> Gain:
        """Return the expected gain of a source; its error includes the drift, and n is 0."""
        row = self._row(source, features)
        solved = np.linalg.solve(self._precision, np.stack([self._weighted, row], axis=1))
        variance = float(row @ solved[:, 1]) + DRIFT**2
        return Gain.normal(float(row @ solved[:, 0]), math.sqrt(variance))

    def _row(self, source: int, features: Sequence[float]) -> Vector:
        own = np.zeros(self._n_sources)
        own[source] = 1.0
        return np.concatenate([[1.0], np.asarray(features, dtype=np.float64), own])
