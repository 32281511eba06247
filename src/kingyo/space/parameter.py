"""Parameter space: one gene per searched parameter, source and group of tensors.

A genome decodes to a recipe that mergekit can read where it has the method: values per group become its
``filter`` entries. The space knows no algorithm that searches it and touches no weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from kingyo.checkpoints.layout import Layout
from kingyo.errors import KingyoError, suggest
from kingyo.methods import MergeMethod, Parameter
from kingyo.recipe import Recipe, Source, Value
from kingyo.space.place import places
from kingyo.types import Axis, Genome


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


@dataclass(frozen=True, kw_only=True)
class ParameterSpace:
    """All merges of given sources by one method, at one granularity.

    Attributes:
        method: the merge method; its parameters are the candidates for axes.
        method_name: how recipes name it: a registered name, or ``path/to/file.py:Name``.
        sources: name -> model reference, in the order of merging.
        base: model reference of the common ancestor, or None.
        layout: the groups of tensors of these models.
        groups: granularity, as in ``Layout.groups``.
        values: parameter -> fixed value or bounds. Parameters not named are searched in the range that the
            method declares for it, or keep its default when it declares none.
        dtype: of the merged weights; None keeps the models' own.
        seed: for random methods; the same for all genomes, so that they differ only in their genes.
        is_part: of a larger space, which has axes of its own: then this one may have none.
    """

    method: MergeMethod
    method_name: str
    sources: Mapping[str, str]
    base: str | None
    layout: Layout
    groups: str = "one"
    values: Mapping[str, float | bool | Bounds] = field(default_factory=dict[str, "float | bool | Bounds"])
    dtype: str | None = None
    seed: int = 0
    is_part: bool = False

    def __post_init__(self) -> None:
        known = {parameter.name: parameter for parameter in self.method.params}
        for name, value in self.values.items():
            if name not in known:
                raise KingyoError(
                    f"merge.parameters of {self.method.name}",
                    expected="its parameters",
                    received=f"'{name}'",
                    remedy=suggest(name, known),
                )
            _check_value(known[name], value)
        if not self.axes and not self.is_part:
            numbers = [each.name for each in self.method.params if each.kind != "bool" and not each.inert]
            raise KingyoError(
                "merge.parameters",
                expected="at least one parameter that is searched",
                received="fixed values only",
                remedy=f"Give one of {', '.join(numbers)} a range: {{from: 0, to: 1}}."
                if numbers
                else f"Take another method: {self.method.name} has no number to search.",
            )

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One axis per searched parameter, source and group; named ``weight/ja/block.3``.

        Axes of parameters with a logarithmic scale are in powers of ten, and named ``log10 t/block.3``.
        """
        return self._axes

    def axes_of(self, parameter: Parameter) -> tuple[Axis, ...]:
        """The axes of one parameter of the method, by source, then by group; none when it is fixed."""
        bounds = self._bounds(parameter)
        if bounds is None:
            return ()
        owners = list(self.sources) if parameter.per_source else [None]
        scale = math.log10 if parameter.search_scale == "log" else float
        return tuple(
            Axis(
                name=_axis_name(parameter, owner, group),
                low=scale(bounds.low),
                high=scale(bounds.high),
                kind="int" if parameter.kind == "int" else "float",
                start=None if bounds.start is None else scale(bounds.start),
                place=place,
                family=_axis_name(parameter, owner, None),
                neutral=_neutral(parameter, bounds),
            )
            for owner in owners
            for group, place in self._places.items()
        )

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return tuple(axis for parameter in self.method.params for axis in self.axes_of(parameter))

    @cached_property
    def _places(self) -> Mapping[str, float | None]:
        return places(self.layout, self.groups)

    @property
    def searched(self) -> dict[str, Bounds]:
        """The parameters that have axes, with their bounds."""
        found = {parameter.name: self._bounds(parameter) for parameter in self.method.params}
        return {name: bounds for name, bounds in found.items() if bounds is not None}

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome.

        Raises:
            ValueError: the genome's length is not the number of axes.
        """
        axes = self.axes
        if len(genome) != len(axes):
            raise ValueError(f"genome: expected {len(axes)} genes, received {len(genome)}")
        genes = {axis.name: gene for axis, gene in zip(axes, genome, strict=True)}
        return Recipe(
            merge_method=self.method_name,
            base_model=self.base,
            sources=tuple(
                Source(model=reference, parameters=self._parameters(genes, name))
                for name, reference in self.sources.items()
            ),
            parameters=self._parameters(genes, None),
            dtype=self.dtype,
            seed=self.seed if self.method.stochastic else 0,
        )

    def _bounds(self, parameter: Parameter) -> Bounds | None:
        value = self.values.get(parameter.name)
        if isinstance(value, Bounds):
            return _with_start(value, parameter)
        if value is not None or parameter.search_low is None or parameter.search_high is None:
            return None
        return _with_start(Bounds(low=parameter.search_low, high=parameter.search_high), parameter)

    def _parameters(self, genes: Mapping[str, float], owner: str | None) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for parameter in self.method.params:
            if self._bounds(parameter) is None:
                fixed = self.values.get(parameter.name)
                if owner is None and fixed is not None and not isinstance(fixed, Bounds):
                    found[parameter.name] = fixed
            elif parameter.per_source == (owner is not None):
                found[parameter.name] = self._grouped(genes, parameter, owner)
        return found

    def _grouped(self, genes: Mapping[str, float], parameter: Parameter, owner: str | None) -> Value:
        groups = list(self.layout.groups(self.groups))
        values = {group: genes[_axis_name(parameter, owner, group)] for group in groups}
        if parameter.search_scale == "log":
            values = {group: 10.0**gene for group, gene in values.items()}
        if len(groups) == 1:
            return values[groups[0]]
        return self.layout.conditionals(self.groups, values)


def uniform_recipe(sources: Mapping[str, str], base: str | None, dtype: str | None) -> Recipe:
    """The plain average of all sources: the merge that needs no search."""
    equal = tuple(Source(model=reference, parameters={"weight": 1.0}) for reference in sources.values())
    return Recipe(
        merge_method="linear", base_model=base, sources=equal, parameters={"normalize": True}, dtype=dtype
    )


def parent_recipe(reference: str, dtype: str | None) -> Recipe:
    """One model as it is, as a recipe: so that parents pass through the same door as their children."""
    return Recipe(
        merge_method="linear", sources=(Source(model=reference, parameters={"weight": 1.0}),), dtype=dtype
    )


def _axis_name(parameter: Parameter, owner: str | None, group: str | None) -> str:
    name = f"log10 {parameter.name}" if parameter.search_scale == "log" else parameter.name
    return "/".join(part for part in (name, owner, group) if part is not None)


def _neutral(parameter: Parameter, bounds: Bounds) -> float | None:
    """Return 0 for the weight of a source, which is then left out."""
    is_weight = parameter.name == "weight" and parameter.per_source
    return 0.0 if is_weight and bounds.low <= 0.0 < bounds.high else None


def _with_start(bounds: Bounds, parameter: Parameter) -> Bounds:
    """The middle, where none is given: on a logarithmic scale, or the whole number below."""
    if bounds.start is not None or (parameter.kind != "int" and parameter.search_scale != "log"):
        return bounds
    if parameter.search_scale == "log":
        return replace(bounds, start=math.sqrt(bounds.low * bounds.high))
    return replace(bounds, start=float(math.floor(bounds.first)))


def _check_value(parameter: Parameter, value: float | bool | Bounds) -> None:
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
