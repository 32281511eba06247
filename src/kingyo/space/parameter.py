"""Parameter space: one gene per searched parameter, source and group of tensors.

A genome decodes to a recipe that mergekit can read where it has the method: values per group become its
``filter`` entries. The space knows no algorithm that searches it and touches no weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kingyo.checkpoints.layout import Layout
from kingyo.errors import KingyoError, suggest
from kingyo.methods import MergeMethod, Parameter
from kingyo.recipe import Recipe, Source, Value
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
        if not self.axes:
            raise KingyoError(
                "merge.parameters",
                expected="at least one parameter that is searched",
                received="fixed values only",
                remedy=f"Give one of {', '.join(known)} a range: {{from: 0, to: 1}}.",
            )

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One axis per searched parameter, source and group; named ``weight/ja/block.3``."""
        return tuple(axis for parameter in self.method.params for axis in self._axes_of(parameter))

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
            return value
        if value is not None or parameter.search_low is None or parameter.search_high is None:
            return None
        return Bounds(low=parameter.search_low, high=parameter.search_high)

    def _axes_of(self, parameter: Parameter) -> list[Axis]:
        bounds = self._bounds(parameter)
        if bounds is None:
            return []
        owners = list(self.sources) if parameter.per_source else [None]
        return [
            Axis(
                name=_axis_name(parameter.name, owner, group),
                low=bounds.low,
                high=bounds.high,
                start=bounds.start,
            )
            for owner in owners
            for group in self.layout.groups(self.groups)
        ]

    def _parameters(self, genes: Mapping[str, float], owner: str | None) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for parameter in self.method.params:
            if self._bounds(parameter) is None:
                fixed = self.values.get(parameter.name)
                if owner is None and fixed is not None and not isinstance(fixed, Bounds):
                    found[parameter.name] = fixed
            elif parameter.per_source == (owner is not None):
                found[parameter.name] = self._grouped(genes, parameter.name, owner)
        return found

    def _grouped(self, genes: Mapping[str, float], parameter: str, owner: str | None) -> Value:
        groups = list(self.layout.groups(self.groups))
        values = {group: genes[_axis_name(parameter, owner, group)] for group in groups}
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


def _axis_name(parameter: str, owner: str | None, group: str) -> str:
    return "/".join(part for part in (parameter, owner, group) if part is not None)


def _check_value(parameter: Parameter, value: float | bool | Bounds) -> None:
    for each in (value.low, value.high) if isinstance(value, Bounds) else (value,):
        parameter.check(each, "merge.parameters")
