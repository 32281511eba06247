"""Checks that strategies share: types of settings with bounds, axes, and the members of a user's strategy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Annotated

from pydantic import Field

from kingyo.core.types import Axis
from kingyo.errors import KingyoError

MAX_SIZE = 100_000
"""Most trials per generation; guards against typing errors that would fill the memory."""
FIX_STRATEGY = "Correct the strategy; kingyo.testing.strategies tests its contract."

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Population = Annotated[int, Field(ge=2, le=MAX_SIZE)]
Count = Annotated[int, Field(ge=0, le=MAX_SIZE)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


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
        remedy = remedy or f"Change {argument} in the settings of the strategy."
        raise KingyoError(argument, expected=expected, received=str(value), remedy=remedy)


def check_strategy(where: str, strategy: object) -> None:
    """Raise a KingyoError unless a strategy, which may be a user's own, has the required members."""
    for name in ("ask", "tell"):
        is_method = callable(getattr(strategy, name, None))
        require(where, "none", f"a method `{name}`", holds=is_method, remedy=FIX_STRATEGY)
    for name, least, default in (("batch", 1, None), ("size", 0, 0)):
        count = getattr(strategy, name, default)
        is_count = not isinstance(count, bool) and isinstance(count, Integral) and int(count) >= least
        expected = f"`{name}`, an int of {least} or more"
        require(where, repr(count)[:80], expected, holds=is_count, remedy=FIX_STRATEGY)


def check_search(axes: Sequence[Axis], seed: int) -> None:
    """Refuse no axis, a repeated name, an axis without a range, and a seed below 0."""
    require("seed", seed, "0 or more", holds=seed >= 0, remedy="Change seed:, or leave it out.")
    remedy = "Give at least one parameter a range."
    require("axes", "none", "at least one axis", holds=len(axes) > 0, remedy=remedy)
    for name, count in Counter(axis.name for axis in axes).items():
        remedy = "Give each axis a unique name."
        require(f"axis {name}", f"{count} of them", "a unique name", holds=count == 1, remedy=remedy)
    for axis in axes:
        holds = math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high
        received, remedy = f"{axis.low}..{axis.high}", "Write a fixed value as a constant, not as a range."
        require(f"axis {axis.name}", received, "finite bounds, low < high", holds=holds, remedy=remedy)
