"""Items that belong together, such as pictures of one prompt: their scores are not independent.

Intervals and tests then go by group. The variance of a mean is the jackknife's over groups (Quenouille 1956;
CR3 of MacKinnon & White 1985), to which one more group is added, half of which is won and half lost, as a few
equal groups are not certain. Its degrees of freedom are those of the effective number of groups (Kish 1965,
Survey Sampling, section 8.2), less one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.intervals import Array, Interval, SampleSize, t_quantile, wilson_bounds, with_groups

EXTRA = 0.25
"""Squared deviation of an item of the added group from the mean."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of some items, in their order.

    Attributes:
        numbers: the group of each item, from 0 on.
        noun: what makes a group, such as ``prompt``.
    """

    numbers: NDArray[np.intp]
    noun: str = "group"

    @classmethod
    def of(cls, labels: Iterable[str]) -> Self | None:
        """Return the groups of items with these labels (``Item.group``); None if no two belong together."""
        own = list(labels)
        counts = Counter(filter(None, own))
        if not counts or max(counts.values()) == 1:
            return None
        names = [label or i for i, label in enumerate(own)]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        nouns = {label.partition(" ")[0] for label in counts if " " in label}
        noun = nouns.pop() if len(nouns) == 1 else "group"
        return cls(numbers=np.array([places[name] for name in names]), noun=noun)

    @cached_property
    def sizes(self) -> Array:
        """Return the number of items of each group."""
        return np.bincount(self.numbers).astype(np.float64)

    @property
    def size(self) -> float:
        """Return the mean number of items in the group of an item."""
        return float((self.sizes**2).sum() / self.sizes.sum())

    @property
    def freedom(self) -> float:
        """Return the degrees of freedom of variances."""
        return max(1.0, len(self.numbers) / self.size - 1)

    def sums(self, values: Array) -> Array:
        """Return the sum of each group's values."""
        return np.asarray(np.bincount(self.numbers, values, len(self.sizes)), dtype=np.float64)

    def totals(self, values: Array) -> Array:
        """Return the sum of each group's values, scaled so that the mean is that of the items."""
        return self.sums(values) * len(self.sizes) / len(values)

    def variance(self, values: Array) -> float:
        """Return the variance of the mean of values in [-1, 1], at least that of independent items."""
        n = len(values)
        if len(self.sizes) == 1:
            return EXTRA + float(values.var())
        residuals = self.sums(values - values.mean()) / (1 - self.sizes / n)
        together = float((residuals**2).sum()) * (1 - 1 / len(self.sizes))
        alone = float(((values - values.mean()) ** 2).sum())
        return (max(together, alone) + EXTRA * self.size**2) / n**2

    def design_effect(self, values: Array) -> float:
        """Return by how much the groups raise the variance of the mean of values in [-1, 1], at least 1."""
        alone = float(((values - values.mean()) ** 2).sum()) + EXTRA * self.size
        return max(1.0, self.variance(values) * len(values) ** 2 / alone)


def size_of(n: int, groups: Groups | None) -> SampleSize:
    """Return the size of n items, of which some may belong together."""
    if groups is None or len(groups.sizes) == n:
        return SampleSize(n=n)
    return SampleSize(n=n, n_groups=len(groups.sizes), noun=groups.noun)


def grouped_share(values: Array, groups: Groups, level: float = 0.95) -> Interval:
    """Bound the mean of values in [0, 1], most of them 0 or 1.

    Wilson's score interval with the effective number of items, and Student's t in place of the normal
    quantile.
    """
    mean, n = float(values.mean()), len(values) / groups.design_effect(values)
    low, high = wilson_bounds(mean, n, t_quantile(groups.freedom, level))
    bounds = Interval(score=mean, n=len(values), low=low, high=high, method="wilson")
    return with_groups(bounds, size_of(len(values), groups))


def grouped_difference(gaps: Array, groups: Groups, level: float = 0.95) -> tuple[Interval, float]:
    """Bound the mean of differences in [-1, 1] by Student's t; also return the p-value that it is 0."""
    from scipy.special import stdtr  # pyright: ignore[reportMissingTypeStubs]

    mean, error = float(gaps.mean()), math.sqrt(groups.variance(gaps))
    reach = t_quantile(groups.freedom, level) * error
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    bounds = Interval(score=mean, n=len(gaps), low=low, high=high, method="student")
    return with_groups(bounds, size_of(len(gaps), groups)), 2 * float(
        stdtr(groups.freedom, -abs(mean) / error)
    )
