"""Intervals around scores, scores as text, and checks of arguments."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.units import counted
from kingyo.errors import KingyoError

Array = NDArray[np.float64]
NORMAL = NormalDist()


def finite_array(name: str, values: Sequence[float]) -> Array:
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
    return bool(np.all((values == 0) | (values == 1)))


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal variable is in [-z, z] with probability ``level``."""
    return NORMAL.inv_cdf((1 + level) / 2)


def t_quantile(freedom: float, level: float) -> float:
    """Return t such that Student's t variable is in [-t, t] with probability ``level``."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    return float(stdtrit(freedom, (1 + level) / 2))


def wilson_bounds(p: float, n: float, z: float) -> tuple[float, float]:
    """Return Wilson's bounds of a proportion p of n items, for a normal quantile z.

    Computed here because scipy takes 270 times as long.
    """
    centre = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At p = 0 and p = 1 the exact bound is p; rounding would exceed it.
    low = 0.0 if p == 0 else (centre - reach) / scale
    high = 1.0 if p == 1 else (centre + reach) / scale
    return low, high


ROUNDING = 1e-9
"""Scores that differ by less are equal."""


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """The size of the sample behind a number."""

    n: int  # items
    n_groups: int = 0  # groups, if some items belong together
    noun: str = "group"  # what makes a group, such as ``prompt``

    @property
    def size(self) -> str:
        """Return ``160``, or ``160 items of 20 prompts``."""
        return f"{self.n:,}{self.of_groups}"

    @property
    def items(self) -> str:
        return self.size if self.n_groups else counted(self.n, "item")

    @property
    def of_groups(self) -> str:
        """Return what follows the number of items in ``size``."""
        return f" items of {counted(self.n_groups, self.noun)}" if self.n_groups else ""

    @property
    def size_json(self) -> dict[str, int]:
        return {"n": self.n, **({"groups": self.n_groups} if self.n_groups else {})}


Sized = TypeVar("Sized", bound=SampleSize)


@dataclass(frozen=True, kw_only=True)
class Interval(SampleSize):
    """A mean score, or a difference of two, with its confidence interval."""

    score: float
    low: float
    high: float

    def in_percent(self, unit: str = "", sign: Literal["", "+"] = "") -> str:
        score, low, high = (f"{100 * value:{sign}.1f}" for value in (self.score, self.low, self.high))
        return f"{score}{unit} [{low}, {high}]"


def with_groups(value: Sized, *parts: SampleSize) -> Sized:
    """Return a value with the number of groups of the set of items that it rests on, or of several sets."""
    if not any(part.n_groups for part in parts):
        return value
    nouns = {part.noun for part in parts}
    total = sum(part.n_groups or part.n for part in parts)
    return replace(value, n_groups=total, noun=nouns.pop() if len(nouns) == 1 else "group")


def mean_name(weights: Iterable[float]) -> str:
    return "weighted mean" if len(set(weights)) > 1 else "mean"


def interval_json(value: Interval | None) -> dict[str, object] | None:
    if value is None:
        return None
    return {"score": value.score, **value.size_json, "low": value.low, "high": value.high}
