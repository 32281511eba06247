"""Check arguments of the statistics, and convert scores to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kingyo.errors import KingyoError

Array = NDArray[np.float64]
NORMAL = NormalDist()


def finite_array(name: str, values: Sequence[float]) -> Array:
    """Return values as an array.

    Raises:
        KingyoError: there are none, or one is not finite.
    """
    array = np.array(values, dtype=np.float64)
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise KingyoError(
            name,
            expected="one finite number or more",
            received=f"{list(values)[:5]}",
            remedy="Leave out items that could not be scored.",
        )
    return array


def paired_arrays(a: Sequence[float], b: Sequence[float]) -> tuple[Array, Array]:
    """Return the scores of two models on the same items as arrays.

    Raises:
        KingyoError: the lengths differ, there are no scores, or one is not finite.
    """
    if len(a) != len(b):
        raise KingyoError(
            "scores",
            expected="two models' scores on the same items",
            received=f"{len(a)} and {len(b)} scores",
            remedy="Compare on the items that both were scored on, in the same order.",
        )
    return finite_array("scores", a), finite_array("scores", b)


def is_binary(values: Array) -> bool:
    """Return whether all values are 0 or 1."""
    return bool(np.all((values == 0) | (values == 1)))


def require_weights(n: int, weights: Sequence[float]) -> None:
    """Raise a KingyoError unless there are n weights above 0, and n is at least 1."""
    if not n or n != len(weights) or min(weights) <= 0:
        raise KingyoError(
            "weights",
            expected=f"a number above 0 for each of {n} parts, with at least one part",
            received=str(list(weights)),
            remedy="Give one weight per part.",
        )


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal variable is in [-z, z] with probability ``level``."""
    if not 0 < level < 1:
        raise KingyoError(
            "level",
            expected="a confidence between 0 and 1",
            received=str(level),
            remedy="Give a level such as 0.95.",
        )
    return NORMAL.inv_cdf((1 + level) / 2)
