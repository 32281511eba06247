"""What every strategy checks at its door: the axes, the seed and the size of its settings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from numbers import Integral

from kingyo.errors import KingyoError
from kingyo.types import Axis

LARGEST = 100_000
"""Trials of a generation, at most: of more than this, slips of the pen fill a machine's memory."""
FIX = "Fix the strategy; kingyo.testing.strategies holds its contract."
_RANGE = "Correct the range of this axis."


def require(argument: str, value: object, expected: str, *, holds: bool, remedy: str | None = None) -> None:
    """Raise a KingyoError unless the condition holds; the argument is a setting where no remedy is given."""
    if not holds:
        raise KingyoError(
            argument,
            expected=expected,
            received=str(value),
            remedy=remedy or f"Change search.settings.{argument}.",
        )


def require_size(argument: str, value: int | None, least: int, most: int = LARGEST) -> None:
    """Raise unless a setting that says how many is None or lies between these, both inclusive."""
    holds = value is None or least <= value <= most
    require(argument, value, f"{least} to {most:,}", holds=holds)


def check_strategy(where: str, strategy: object) -> None:
    """Raise unless a strategy, which may be a user's own, has what every search uses.

    Args:
        where: how to call it in the message.
        strategy: as it was made.

    Raises:
        KingyoError: it cannot be asked or told, or says no number of trials to ask for.
    """
    for name in ("ask", "tell"):
        method = getattr(strategy, name, None)
        _require_part(where, method, f"a method `{name}`", holds=callable(method))
    batch = getattr(strategy, "batch", None)
    expected = "`batch`, a whole number from 1: how many trials to ask for at once"
    _require_part(where, batch, expected, holds=_is_count(batch, 1))
    size = getattr(strategy, "size", 0)
    _require_part(where, size, "`size`, a whole number from 0, or none at all", holds=_is_count(size, 0))


def _is_count(value: object, least: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def _require_part(where: str, value: object, expected: str, *, holds: bool) -> None:
    if not holds:
        received = "none" if value is None else "a method" if callable(value) else repr(value)[:80]
        raise KingyoError(where, expected=expected, received=received, remedy=FIX)


def check_search(axes: Sequence[Axis], seed: int) -> tuple[Axis, ...]:
    """Return the axes as a tuple of the strategy's own, after checking them and the seed.

    Raises:
        KingyoError: no axis, two of the same name, an axis that cannot vary, a seed below 0.
    """
    require("seed", seed, "0 or more", holds=seed >= 0, remedy="Change seed:, or leave it out.")
    if not axes:
        raise KingyoError(
            "axes",
            expected="at least one axis",
            received="none",
            remedy="Give a parameter a range, so that there is something to search.",
        )
    for name, count in Counter(axis.name for axis in axes).items():
        require(
            f"axis {name}",
            f"{count} of them",
            "a unique name",
            holds=count == 1,
            remedy="Give each axis a name of its own.",
        )
    for axis in axes:
        check_axis(axis)
    return tuple(axes)


def check_axis(axis: Axis) -> None:
    """Raise unless the axis can vary, its bounds suit its kind, and its start lies inside them."""
    where, bounds = f"axis {axis.name}", (axis.low, axis.high)
    finite = math.isfinite(axis.low) and math.isfinite(axis.high)
    require(where, bounds, "finite bounds", holds=finite, remedy=_RANGE)
    if axis.low >= axis.high:
        raise KingyoError(
            where,
            expected="low < high",
            received=f"{axis.low}..{axis.high}",
            remedy="A fixed value is not an axis: write it as a constant.",
        )
    if axis.kind != "float":
        whole = float(axis.low).is_integer() and float(axis.high).is_integer()
        require(where, bounds, "whole bounds", holds=whole, remedy=_RANGE)
    if axis.kind == "binary":
        require(where, bounds, "the bounds 0..1 of a binary axis", holds=bounds == (0, 1), remedy=_RANGE)
    if axis.kind == "categorical":
        last = len(axis.choices) - 1
        require(
            where, bounds, f"the bounds 0..{last} of its choices", holds=bounds == (0, last), remedy=_RANGE
        )
    if axis.start is not None:
        inside = axis.low <= axis.start <= axis.high
        remedy = "Move the start into the range, or leave it out for the middle."
        require(where, axis.start, "a start inside the bounds", holds=inside, remedy=remedy)
