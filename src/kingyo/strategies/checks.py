"""Validation that strategies share: axes, seed, sizes and the methods of a user's strategy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from numbers import Integral

from kingyo.errors import KingyoError
from kingyo.types import Axis

MAX_SIZE = 100_000
"""Most trials per generation; guards against typing errors that would fill the memory."""
FIX_STRATEGY = "Correct the strategy; kingyo.testing.strategies tests its contract."
_FIX_RANGE = "Correct the range of this axis."


def require(argument: str, value: object, expected: str, *, holds: bool, remedy: str | None = None) -> None:
    """Raise a KingyoError unless a condition holds.

    Args:
        argument: name of the argument; a setting of the strategy if ``remedy`` is None.
        value: the value received.
        expected: noun phrase for a valid value.
        holds: the condition.
        remedy: one imperative sentence; None: change the setting.
    """
    if not holds:
        raise KingyoError(
            argument,
            expected=expected,
            received=str(value),
            remedy=remedy or f"Change search.settings.{argument}.",
        )


def require_size(argument: str, value: int | None, least: int, most: int = MAX_SIZE) -> None:
    """Raise unless a count is None or between ``least`` and ``most``, both inclusive."""
    holds = value is None or least <= value <= most
    require(argument, value, f"{least} to {most:,}", holds=holds)


def check_strategy(where: str, strategy: object) -> None:
    """Raise unless a strategy, which may be a user's own, has the required members.

    Args:
        where: argument name for the message.
        strategy: the strategy.

    Raises:
        KingyoError: ``ask`` or ``tell`` is missing, or ``batch`` or ``size`` is not a valid count.
    """
    for name in ("ask", "tell"):
        method = getattr(strategy, name, None)
        _require_member(where, method, f"a method `{name}`", holds=callable(method))
    batch = getattr(strategy, "batch", None)
    expected = "`batch`, an int of 1 or more: the number of trials to ask for at once"
    _require_member(where, batch, expected, holds=_is_count(batch, 1))
    size = getattr(strategy, "size", 0)
    _require_member(
        where, size, "`size`, an int of 0 or more, or no such attribute", holds=_is_count(size, 0)
    )


def _is_count(value: object, least: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def _require_member(where: str, value: object, expected: str, *, holds: bool) -> None:
    if not holds:
        received = "none" if value is None else "a method" if callable(value) else repr(value)[:80]
        raise KingyoError(where, expected=expected, received=received, remedy=FIX_STRATEGY)


def check_search(axes: Sequence[Axis], seed: int) -> tuple[Axis, ...]:
    """Check axes and seed, and return the axes as a tuple.

    Raises:
        KingyoError: no axis, a repeated name, an axis without a range, or a seed below 0.
    """
    require("seed", seed, "0 or more", holds=seed >= 0, remedy="Change seed:, or leave it out.")
    if not axes:
        raise KingyoError(
            "axes",
            expected="at least one axis",
            received="none",
            remedy="Give at least one parameter a range.",
        )
    for name, count in Counter(axis.name for axis in axes).items():
        require(
            f"axis {name}",
            f"{count} of them",
            "a unique name",
            holds=count == 1,
            remedy="Give each axis a unique name.",
        )
    for axis in axes:
        check_axis(axis)
    return tuple(axes)


def check_axis(axis: Axis) -> None:
    """Raise unless the bounds are finite, not equal and valid for the kind, and the start is within them."""
    where, bounds = f"axis {axis.name}", (axis.low, axis.high)
    finite = math.isfinite(axis.low) and math.isfinite(axis.high)
    require(where, bounds, "finite bounds", holds=finite, remedy=_FIX_RANGE)
    if axis.low >= axis.high:
        raise KingyoError(
            where,
            expected="low < high",
            received=f"{axis.low}..{axis.high}",
            remedy="Write a fixed value as a constant, not as a range.",
        )
    if axis.kind != "float":
        whole = float(axis.low).is_integer() and float(axis.high).is_integer()
        require(where, bounds, "whole bounds", holds=whole, remedy=_FIX_RANGE)
    if axis.kind == "binary":
        require(where, bounds, "the bounds 0..1 of a binary axis", holds=bounds == (0, 1), remedy=_FIX_RANGE)
    if axis.kind == "categorical":
        last = len(axis.choices) - 1
        require(
            where,
            bounds,
            f"the bounds 0..{last} of its choices",
            holds=bounds == (0, last),
            remedy=_FIX_RANGE,
        )
    if axis.start is not None:
        inside = axis.low <= axis.start <= axis.high
        remedy = "Move the start into the range, or leave it out for the middle."
        require(where, axis.start, "a start inside the bounds", holds=inside, remedy=remedy)
