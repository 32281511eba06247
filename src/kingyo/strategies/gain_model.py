"""Predict what another source adds to a merge: a Bayesian linear model of measured gains.

A gain is modelled as  μ + f · β + u_source + noise,  with Gaussian priors. μ is common to all sources, f are
features of the source given the sources chosen so far (standardised), and u is what else the source brings. A
source that was measured before is predicted near its earlier gains, one that was not by its features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MEAN, WEIGHT, OWN, DRIFT = 0.05, 0.03, 0.08, 0.03
"""Prior standard deviations of μ, of each entry of β and of u, and of a gain between two sets of sources."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A difference of mean scores, paired by item, with its standard error and number of items."""

    mean: float
    error: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval, from a normal distribution; a difference of mean scores is within -1 and 1."""
        return max(-1.0, self.mean - 1.96 * self.error), min(1.0, self.mean + 1.96 * self.error)


def paired_gain(one: Sequence[float], other: Sequence[float], groups: Sequence[str] = ()) -> Gain:
    """Return how much better one is than other on the same items, scored from 0 to 1.

    Its variance is that of the differences and of one more item that is half won, half lost, so that a few
    equal scores are not certain. Items that belong together are one large item.

    Args:
        one, other: a score per item.
        groups: the group of each item (``Item.group``), empty for an item on its own; default: all are.

    Example:
        >>> gain = paired_gain([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0])
        >>> gain.mean, round(gain.error, 2), gain.n
        (0.25, 0.24, 4)
    """
    gaps = np.subtract(one, other)
    n = len(gaps)
    if n == 0:
        return Gain(mean=0.0, error=1.0, n=0)
    mean = float(gaps.mean())
    residuals, size = gaps - mean, 1.0
    squares = float((residuals**2).sum())
    if any(groups):
        labels = [group or i for i, group in enumerate(groups)]
        places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
        numbers = [places[label] for label in labels]
        residuals, size = np.bincount(numbers, residuals), float((np.bincount(numbers) ** 2).sum() / n)
    n_groups = len(residuals)
    squares = max(squares, float((residuals**2).sum()))  # at least as if items were independent
    variance = (squares + 0.25 * size**2) / (n_groups + 1)
    return Gain(mean=mean, error=float(np.sqrt(variance / (n * n / n_groups))), n=n)


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
        """Add a measured gain."""
        row, weight = self._row(source, features), 1 / (gain.error**2 + DRIFT**2)
        self._precision = self._precision + weight * np.outer(row, row)
        self._weighted = self._weighted + weight * gain.mean * row

    def predict(self, source: int, features: Sequence[float]) -> Gain:
        """Return the expected gain of a source; its error includes the drift, and n is 0."""
        row = self._row(source, features)
        solved = np.linalg.solve(self._precision, np.stack([self._weighted, row], axis=1))
        variance = float(row @ solved[:, 1]) + DRIFT**2
        return Gain(mean=float(row @ solved[:, 0]), error=float(np.sqrt(variance)), n=0)

    def _row(self, source: int, features: Sequence[float]) -> Vector:
        own = np.zeros(self._n_sources)
        own[source] = 1.0
        return np.concatenate([[1.0], np.asarray(features, dtype=np.float64), own])
