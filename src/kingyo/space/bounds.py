"""Bounds of a searched parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError
from kingyo.methods import Parameter


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Search range of a parameter.

    Attributes:
        low: lower bound, inclusive.
        high: upper bound, inclusive.
        start: initial value; None: the middle.
    """

    low: float
    high: float
    start: float | None = None

    @property
    def first(self) -> float:
        """The initial value."""
        return (self.low + self.high) / 2 if self.start is None else self.start


def with_start(bounds: Bounds, parameter: Parameter) -> Bounds:
    """Return the bounds with a start for int and log-scale parameters: the middle, on the search scale."""
    if bounds.start is not None or (parameter.kind != "int" and parameter.search_scale != "log"):
        return bounds
    if parameter.search_scale == "log":
        return replace(bounds, start=math.sqrt(bounds.low * bounds.high))
    return replace(bounds, start=float(math.floor(bounds.first)))


def check_value(parameter: Parameter, value: float | bool | Bounds) -> None:
    """Check a fixed value or a range of a parameter.

    Raises:
        KingyoError: a value that the parameter rejects, a range of an inert parameter, or a range on a log
            scale that reaches 0.
    """
    if not isinstance(value, Bounds):
        parameter.check(value, "merge.parameters")
        return
    if parameter.inert:
        raise KingyoError(
            f"{parameter.name} of merge.parameters",
            expected="no range, because the parameter has no effect",
            received="a range",
            remedy=f"Leave it out. {parameter.doc}",
        )
    for number in (value.low, value.high, *([] if value.start is None else [value.start])):
        parameter.check(number, "merge.parameters")
    if parameter.search_scale == "log" and value.low <= 0:
        raise KingyoError(
            f"{parameter.name} of merge.parameters",
            expected="a range above 0, for a log scale",
            received=f"from: {value.low:g}",
            remedy="Raise from, for example to 1e-6.",
        )
