"""Items that belong together, such as pictures of one prompt: their scores are not independent.

Intervals and tests then go by group. The variance of a mean is the jackknife's over groups (Quenouille 1956;
CR3 of MacKinnon & White 1985), to which one more group is added, half of which is won and half lost, as a few
equal groups are not certain. Its degrees of freedom are those of the effective number of groups (Kish 1965,
Survey Sampling, section 8.2), less one. An item may be in several groups, such as a question about two
images: then all pairs of items with a common group count (Aronow, Samii & Assenova 2015, Cluster-robust
variance estimation for dyadic data), those with two common groups twice.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.intervals import Array, Interval, SampleSize, t_quantile, wilson_bounds, with_groups

EXTRA = 0.25
"""Squared deviation of an item of the added group from the mean."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of some items, in their order."""

    numbers: NDArray[np.intp]  # the group of each item, from 0 on; of several, the largest
    noun: str = "group"  # what makes a group, such as ``prompt``
    members: NDArray[np.intp] | None = None  # [memberships, 2]: item and group, if items may be in several

    @classmethod
    def of(cls, labels: Iterable[str]) -> Self | None:
        """Return the groups of items with these labels (``Item.group``); None if no two belong together."""
        own = [label.splitlines() for label in labels]
        counts = Counter(chain.from_iterable(own))
        if not counts or max(counts.values()) == 1:
            return None
        shared = [[each for each in given if counts[each] > 1] for given in own]
        names = [max(given, key=lambda each: counts[each], default=i) for i, given in enumerate(shared)]
        places = {name: place for place, name in enumerate(dict.fromkeys([*names, *chain(*shared)]))}
        nouns = {label.partition(" ")[0] for label in counts if " " in label}
        noun = nouns.pop() if len(nouns) == 1 else "group"
        members = None
        if max(map(len, shared)) > 1:
            pairs = [(i, places[name]) for i, given in enumerate(shared) for name in given or [i]]
            members = np.array(pairs, dtype=np.intp)
        return cls(numbers=np.array([places[name] for name in names]), noun=noun, members=members)

    @cached_property
    def sizes(self) -> Array:
        return np.bincount(self.numbers).astype(np.float64)

    @property
    def count(self) -> int:
        return len(self.sizes) if self.members is None else int(self.members[:, 1].max()) + 1

    @property
    def size(self) -> float:
        """Return the mean number of items that share a group with an item, itself included."""
        return float(self._near.mean())

    @property
    def freedom(self) -> float:
        return max(1.0, len(self.numbers) / self.size - 1)

    def sums(self, values: Array) -> Array:
        return np.asarray(np.bincount(self.numbers, values, len(self.sizes)), dtype=np.float64)

    def totals(self, values: Array) -> Array:
        """Return the sum of each group's values, scaled so that the mean is that of the items."""
        return self.sums(values) * len(self.sizes) / len(values)

    def variance(self, values: Array) -> float:
        """Return the variance of the mean of values in [-1, 1], at least that of independent items."""
        n = len(values)
        if len(self.sizes) == 1:
            return EXTRA + float(values.var())
        items, groups = self._memberships
        residuals = (values - values.mean()) / (1 - np.minimum(self._near, n - 1) / n)
        pairs = float((np.bincount(groups, residuals[items]) ** 2).sum())
        again = float(((np.bincount(items) - 1) * residuals**2).sum())
        alone = float(((values - values.mean()) ** 2).sum())
        together = (pairs - again) * (1 - 1 / self.count)
        return (max(together, alone) + EXTRA * self.size**2) / n**2

    @cached_property
    def _memberships(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if self.members is None:
            return np.arange(len(self.numbers)), self.numbers
        return self.members[:, 0], self.members[:, 1]

    @cached_property
    def _near(self) -> Array:
        items, groups = self._memberships
        others = np.bincount(groups)[groups] - 1
        return 1 + np.bincount(items, others, len(self.numbers)).astype(np.float64)

    def design_effect(self, values: Array) -> float:
        """Return by how much the groups raise the variance of the mean of values in [-1, 1], at least 1."""
        alone = float(((values - values.mean()) ** 2).sum()) + EXTRA * self.size
        return max(1.0, self.variance(values) * len(values) ** 2 / alone)


def size_of(n: int, groups: Groups | None) -> SampleSize:
    if groups is None or groups.count == n:
        return SampleSize(n=n)
    return SampleSize(n=n, n_groups=groups.count, noun=groups.noun)


def grouped_share(values: Array, groups: Groups, level: float = 0.95) -> Interval:
    """Bound the mean of values in [0, 1], mostly 0 or 1: Wilson's with the effective number of items."""
    mean, n = float(values.mean()), len(values) / groups.design_effect(values)
    low, high = wilson_bounds(mean, n, t_quantile(groups.freedom, level))
    bounds = Interval(score=mean, n=len(values), low=low, high=high)
    return with_groups(bounds, size_of(len(values), groups))


def grouped_difference(gaps: Array, groups: Groups, level: float = 0.95) -> tuple[Interval, float]:
    """Bound the mean of differences in [-1, 1] by Student's t; also return the p-value that it is 0."""
    from scipy.special import stdtr  # pyright: ignore[reportMissingTypeStubs]

    mean, error = float(gaps.mean()), math.sqrt(groups.variance(gaps))
    reach = t_quantile(groups.freedom, level) * error
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    bounds = Interval(score=mean, n=len(gaps), low=low, high=high)
    return with_groups(bounds, size_of(len(gaps), groups)), 2 * float(
        stdtr(groups.freedom, -abs(mean) / error)
    )
