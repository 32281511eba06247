"""Where a parameter is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError
from kingyo.methods import Parameter


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Where a parameter is searched, and where the search begins (the middle when None)."""

    low: float
    high: float
    start: float | None = None

    @property
    def first(self) -> float:
        """Where the search begins."""
        return (self.low + self.high) / 2 if self.start is None else self.start


def with_start(bounds: Bounds, parameter: Parameter) -> Bounds:
    """Return bounds with a start: the middle on the search's scale, or the whole number below."""
    if bounds.start is not None or (parameter.kind != "int" and parameter.search_scale != "log"):
        return bounds
    if parameter.search_scale == "log":
        return replace(bounds, start=math.sqrt(bounds.low * bounds.high))
    return replace(bounds, start=float(math.floor(bounds.first)))


def check_value(parameter: Parameter, value: float | bool | Bounds) -> None:
    """Refuse a value that a parameter cannot have, or bounds between which it cannot be searched.

    Raises:
        KingyoError: so it is.
    """
    if not isinstance(value, Bounds):
        parameter.check(value, "merge.parameters")
        return
    if parameter.inert:
        raise KingyoError(
            f"{parameter.name} of merge.parameters",
            expected="a parameter that changes something",
            received="a range",
            remedy=f"Leave it out. {parameter.doc}",
        )
    for each in (value.low, value.high, *([] if value.start is None else [value.start])):
        parameter.check(each, "merge.parameters")
    if parameter.search_scale == "log" and value.low <= 0:
        raise KingyoError(
            f"{parameter.name} of merge.parameters",
            expected="a range above 0, since it is searched in powers of ten",
            received=f"from {value.low:g}",
            remedy="Raise from, such as to 1e-6.",
        )
