"""Values and ranges of parameters, for all sources and for single ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median_low

from kingyo.errors import KingyoError, suggest
from kingyo.merging.methods import MergeMethod, Parameter
from kingyo.merging.methods.catalogue import with_command


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Search range of a parameter. The search begins at ``start``: one value, or one per group of tensors."""

    low: float
    high: float
    start: float | tuple[float, ...] | None = None

    @property
    def starts(self) -> tuple[float, ...]:
        if isinstance(self.start, tuple):
            return self.start
        return () if self.start is None else (self.start,)

    @property
    def first(self) -> float:
        """The initial value; the middle one of several."""
        return median_low(self.starts) if self.starts else (self.low + self.high) / 2


def with_start(bounds: Bounds, parameter: Parameter) -> Bounds:
    """Return the bounds with a start for int and log-scale parameters: the middle, on the search scale."""
    if bounds.start is not None or (parameter.kind != "int" and parameter.search_scale != "log"):
        return bounds
    if parameter.search_scale == "log":
        return replace(bounds, start=math.sqrt(bounds.low * bounds.high))
    return replace(bounds, start=float(math.floor(bounds.first)))


def check_value(parameter: Parameter, value: float | bool | Bounds) -> None:
    """Refuse a value or range that the parameter rejects, and a range of a parameter without effect."""
    if not isinstance(value, Bounds):
        parameter.check(value, "merge.parameters")
        return
    if parameter.inert:
        expected, remedy = "no range, because the parameter has no effect", f"Leave it out. {parameter.doc}"
        raise KingyoError(f"{parameter.name} of merge.parameters", expected, "a range", remedy)
    for number in (value.low, value.high, *value.starts):
        parameter.check(number, "merge.parameters")
    if parameter.search_scale == "log" and value.low <= 0:
        expected, remedy = "a range above 0, for a log scale", "Raise from, for example to 1e-6."
        raise KingyoError(f"{parameter.name} of merge.parameters", expected, f"from: {value.low:g}", remedy)


ParameterValues = Mapping[str, float | bool | Bounds]
"""Parameter -> fixed value or bounds."""


@dataclass(frozen=True, kw_only=True)
class SourceValues:
    """Groups and values of one source; None and missing values are those of all sources."""

    groups: str | None = None
    values: ParameterValues = field(default_factory=dict[str, "float | bool | Bounds"])


def check_values(method: MergeMethod, where: str, values: ParameterValues, *, is_own: bool) -> None:
    known = {each.name: each for each in method.params if each.per_source or not is_own}
    for name, value in values.items():
        if name not in known:
            expected = "parameters that each source may have" if is_own else "its parameters"
            raise KingyoError(f"{where} of {method.name}", expected, f"'{name}'", suggest(name, known))
        try:
            check_value(known[name], value)
        except KingyoError as error:
            raise with_command(error, method) from error
