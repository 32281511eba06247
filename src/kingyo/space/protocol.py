"""Interfaces of search spaces, bounds of parameters, and genomes for checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Protocol

from kingyo.errors import KingyoError
from kingyo.methods import Parameter
from kingyo.recipe import Recipe
from kingyo.types import Axis, Genome


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
        raise KingyoError(
            f"{parameter.name} of merge.parameters",
            expected="no range, because the parameter has no effect",
            received="a range",
            remedy=f"Leave it out. {parameter.doc}",
        )
    for number in (value.low, value.high, *value.starts):
        parameter.check(number, "merge.parameters")
    if parameter.search_scale == "log" and value.low <= 0:
        raise KingyoError(
            f"{parameter.name} of merge.parameters",
            expected="a range above 0, for a log scale",
            received=f"from: {value.low:g}",
            remedy="Raise from, for example to 1e-6.",
        )


class Space(Protocol):
    """A search space: axes, and recipes of genomes."""

    @property
    def axes(self) -> Sequence[Axis]:
        """Axes of the space."""
        ...

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        ...


class SourceSpace(Space, Protocol):
    """A space over the sources of a run."""

    def known_points(self) -> dict[str, Genome]:
        """Return name -> genome of the baselines that are points of the space: sources and ``uniform``.

        Only genomes whose recipe reproduces the baseline's weights, up to rounding, are included.
        """
        return {}


def probes(axes: Sequence[Axis]) -> Iterator[Genome]:
    """Yield the first point, then one point per other choice of each categorical axis."""
    first = tuple(axis.first for axis in axes)
    yield first
    for i, axis in enumerate(axes):
        for choice in range(len(axis.choices)):
            if choice != first[i]:
                yield (*first[:i], float(choice), *first[i + 1 :])
