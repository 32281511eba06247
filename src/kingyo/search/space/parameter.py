"""Parameter space: one gene per searched parameter, source and group of tensors.

Recipes are readable by mergekit if it has the method; values per group become ``filter`` entries.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median_low

from kingyo.core.io.units import counted
from kingyo.core.types import Axis, Genome
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints.layout import Layout
from kingyo.merging.methods import MergeMethod, Parameter
from kingyo.merging.methods.catalogue import with_command
from kingyo.merging.recipe import Recipe, Source, Value

AVERAGES = ("linear", "task_arithmetic", "singular_bands")
GAINS = ("top", "middle", "rest")
"""Parameters of singular_bands; if all are 1, it equals task_arithmetic."""
FACTORS = ("density", "lambda", *GAINS)
"""Parameters that have no effect if they are 1."""
TRIMMING = ("ties", "dare_ties", "dare_linear")
"""Methods that reproduce a source of weight 1 at density 1."""


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


@dataclass(frozen=True, kw_only=True)
class ParameterSpace:
    """All merges of some sources by one method at one granularity.

    ``method_name`` is the method's in recipes. Parameters without values are searched in the range that the
    method declares, or keep their defaults if it declares none. ``own`` has the groups and values of single
    sources. A space that is part of a larger one (``is_part``) may have no axes.
    """

    method: MergeMethod
    method_name: str
    sources: Mapping[str, str]
    base: str | None
    layout: Layout
    groups: str = "one"
    values: ParameterValues = field(default_factory=dict[str, "float | bool | Bounds"])
    own: Mapping[str, SourceValues] = field(default_factory=dict[str, SourceValues])
    dtype: str | None = None
    seed: int = 0
    is_part: bool = False

    def __post_init__(self) -> None:
        check_values(self.method, "merge.parameters", self.values, is_own=False)
        for source, own in self.own.items():
            if source not in self.sources:
                remedy = suggest(source, self.sources)
                raise KingyoError("merge.sources", "names of sources", f"'{source}'", remedy)
            check_values(self.method, f"merge.sources.{source}.parameters", own.values, is_own=True)
        if not self.axes and not self.is_part:
            numbers = [each.name for each in self.method.params if each.kind != "bool" and not each.inert]
            remedy = f"Use another method; {self.method.name} has no parameter to search."
            if numbers:
                remedy = f"Give one of {', '.join(numbers)} a range: {{from: 0, to: 1}}."
            raise KingyoError("merge.parameters", "at least one range", "fixed values only", remedy)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One per searched parameter, source and group, such as ``weight/ja/block.3`` or ``log10 t/all``."""
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return tuple(axis for parameter in self.method.params for axis in self.axes_of(parameter))

    def axes_of(self, parameter: Parameter) -> tuple[Axis, ...]:
        return tuple(
            axis for owner in self._owners(parameter) for axis in self._axes_of_owner(parameter, owner)
        )

    def _axes_of_owner(self, parameter: Parameter, owner: str | None) -> tuple[Axis, ...]:
        bounds = self._bounds(parameter, owner)
        if bounds is None:
            return ()
        scale = math.log10 if parameter.search_scale == "log" else float
        places = self._places[self._groups_of(owner)]
        is_weight = parameter.name == "weight" and parameter.per_source  # at 0 the source is left out
        neutral = 0.0 if is_weight and bounds.low <= 0.0 < bounds.high else None
        return tuple(
            Axis(
                name=_axis_name(parameter, owner, group),
                low=scale(bounds.low),
                high=scale(bounds.high),
                kind="int" if parameter.kind == "int" else "float",
                start=None if start is None else scale(start),
                place=place,
                family=_axis_name(parameter, owner, None),
                neutral=neutral,
            )
            for (group, place), start in zip(
                places.items(), _starts(bounds, parameter, owner, tuple(places)), strict=True
            )
        )

    def _groups_of(self, owner: str | None) -> str:
        own = self.own.get(owner) if owner is not None else None
        return self.groups if own is None or own.groups is None else own.groups

    def _bounds(self, parameter: Parameter, owner: str | None) -> Bounds | None:
        """Return the bounds of a searched parameter, by default those of the method; None if it is fixed."""
        own, shared = self.own.get(owner) if owner is not None else None, self.values.get(parameter.name)
        value = shared if own is None else own.values.get(parameter.name, shared)
        if isinstance(value, Bounds):
            return with_start(value, parameter)
        if value is not None or parameter.search_low is None or parameter.search_high is None:
            return None
        return with_start(Bounds(low=parameter.search_low, high=parameter.search_high), parameter)

    def _fixed(self, parameter: Parameter, owner: str | None) -> float | bool | None:
        own = SourceValues(values=self.values) if owner is None else self.own.get(owner)
        value = None if own is None else own.values.get(parameter.name)
        return None if isinstance(value, Bounds) else value

    @cached_property
    def _places(self) -> Mapping[str, Mapping[str, float | None]]:
        used = {self.groups, *map(self._groups_of, self.sources)}
        return {groups: group_positions(self.layout, groups) for groups in used}

    def _owners(self, parameter: Parameter) -> tuple[str | None, ...]:
        return tuple(self.sources) if parameter.per_source else (None,)

    @property
    def searched(self) -> dict[str, Bounds]:
        """Parameter -> bounds, of the parameters that have axes; those of the first source that has any."""
        ranges = [
            (parameter.name, self._bounds(parameter, owner))
            for parameter in self.method.params
            for owner in reversed(self._owners(parameter))
        ]
        return {name: bounds for name, bounds in ranges if bounds is not None}

    def fixed(self, parameter: Parameter, source: str) -> float:
        values = (self._fixed(parameter, owner) for owner in (source, None))
        return float(next((value for value in values if value is not None), 0.0))

    def decode(self, genome: Genome) -> Recipe:
        genes = {axis.name: gene for axis, gene in zip(self.axes, genome, strict=True)}
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

    @cached_property
    def genes_by_tensor(self) -> Mapping[str, Mapping[tuple[str, str | None], int]]:
        """Tensor -> the genes that are parameters of its merge, by the parameter and the source's reference.

        None stands for all sources. Genes on a log scale and whole numbers are left out.
        """
        places = {axis.name: place for place, axis in enumerate(self.axes) if axis.kind == "float"}
        genes: dict[str, dict[tuple[str, str | None], int]] = {}
        for parameter in (each for each in self.method.params if each.search_scale == "linear"):
            for owner in self._owners(parameter):
                reference = None if owner is None else self.sources[owner]
                for group, tensors in self.layout.groups(self._groups_of(owner)).items():
                    place = places.get(_axis_name(parameter, owner, group))
                    if place is not None:
                        for tensor in tensors:
                            genes.setdefault(tensor, {})[parameter.name, reference] = place
        return genes

    def known_points(self) -> dict[str, Genome]:
        """Return name -> genome of sources and ``uniform``, if it gives their weights, up to rounding."""
        if not self._reproduces_sources():
            return {}
        names = self.sources
        baselines = {name: {other: float(other == name) for other in names} for name in names}
        if self.method_name in AVERAGES:
            baselines["uniform"] = dict.fromkeys(names, 1 / len(names))
        genomes = {name: self._genome_of(weights) for name, weights in baselines.items()}
        return {name: genome for name, genome in genomes.items() if genome is not None}

    def _reproduces_sources(self) -> bool:
        searched = set(self.searched)
        values = [
            pair
            for each in (self.values, *(own.values for own in self.own.values()))
            for pair in each.items()
        ]
        fixed = [(name, value) for name, value in values if not isinstance(value, Bounds)]
        if any(name == "weight" or (name in FACTORS and value != 1) for name, value in fixed):
            return False
        if "weight" not in searched:
            return False
        if self.method_name in AVERAGES:
            return searched <= {"weight", *GAINS}
        return self.method_name in TRIMMING and searched <= {"weight", "density"}

    def _genome_of(self, weights: Mapping[str, float]) -> Genome | None:
        families = (axis.family.split("/", 1) for axis in self.axes)
        genome = tuple(weights[owner] if name == "weight" else 1.0 for name, owner in families)
        pairs = zip(self.axes, genome, strict=True)
        return genome if all(axis.low <= value <= axis.high for axis, value in pairs) else None

    def _parameters(self, genes: Mapping[str, float], owner: str | None) -> dict[str, Value]:
        parameters: dict[str, Value] = {}
        for parameter in self.method.params:
            fixed = self._fixed(parameter, owner)
            if fixed is not None:
                parameters[parameter.name] = fixed
            elif owner in self._owners(parameter) and self._bounds(parameter, owner) is not None:
                parameters[parameter.name] = self._grouped(genes, parameter, owner)
        return parameters

    def _grouped(self, genes: Mapping[str, float], parameter: Parameter, owner: str | None) -> Value:
        granularity = self._groups_of(owner)
        groups = list(self.layout.groups(granularity))
        values = {group: genes[_axis_name(parameter, owner, group)] for group in groups}
        if parameter.search_scale == "log":
            values = {group: 10.0**gene for group, gene in values.items()}
        if len(set(values.values())) == 1:
            return values[groups[0]]
        return self.layout.conditionals(granularity, values)


def uniform_recipe(sources: Mapping[str, str], base: str | None, dtype: str | None) -> Recipe:
    equal = tuple(Source(model=reference, parameters={"weight": 1.0}) for reference in sources.values())
    return Recipe(
        merge_method="linear", base_model=base, sources=equal, parameters={"normalize": True}, dtype=dtype
    )


def parent_recipe(reference: str, dtype: str | None) -> Recipe:
    return Recipe(
        merge_method="linear", sources=(Source(model=reference, parameters={"weight": 1.0}),), dtype=dtype
    )


def _axis_name(parameter: Parameter, owner: str | None, group: str | None) -> str:
    name = f"log10 {parameter.name}" if parameter.search_scale == "log" else parameter.name
    return "/".join(part for part in (name, owner, group) if part is not None)


def _starts(
    bounds: Bounds, parameter: Parameter, owner: str | None, groups: Sequence[str]
) -> Sequence[float | None]:
    if not isinstance(bounds.start, tuple):
        return [bounds.start] * len(groups)
    if len(bounds.start) != len(groups):
        expected = f"one number, or one for each of {', '.join(groups)}"
        remedy = "Change start in merge.parameters or merge.sources, or the groups."
        received = counted(len(bounds.start), "number")
        raise KingyoError(f"start of {_axis_name(parameter, owner, None)}", expected, received, remedy)
    return bounds.start


def group_positions(layout: Layout, granularity: str) -> dict[str, float | None]:
    """Return the position of each group, 0 (input) to 1 (output); None for groups that span the model.

    Block i of n is at (i + 0.5) / n, several blocks at their mean, the embedding at 0, the head at 1. Merge
    block weights are spread evenly.
    """
    groups = layout.groups(granularity)
    if granularity in ("one", "kind", "conv+attn"):
        return dict.fromkeys(groups)
    if granularity == "mbw":
        return {group: (i + 0.5) / len(groups) for i, group in enumerate(groups)}
    return {group: _position(layout, names) for group, names in groups.items()}


def _position(layout: Layout, names: Sequence[str]) -> float | None:
    stack = next((found for name in names if (found := layout.stack(name)) is not None), None)
    if stack is None:
        return layout.depth(names[0]) if layout.stacks else None
    block_numbers = {layout.block(name) for name in names}
    order = [i for i, number in enumerate(stack.blocks) if number in block_numbers]
    return (sum(order) / len(order) + 0.5) / len(stack.blocks)


HIGHEST = 1.5  # weight of a source in a ``SubsetSpace``


@dataclass(frozen=True, kw_only=True)
class SubsetSpace:
    """Merges of some of many sources by task arithmetic. Recipes name only the sources that they merge."""

    sources: Mapping[str, str]
    base: str
    layout: Layout
    groups: str = "one"
    dtype: str | None = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return tuple(
            Axis(name=f"weight/{name}/{group}", low=0.0, high=HIGHEST, family=f"weight/{name}", neutral=0.0)
            for name in self.sources
            for group in self.layout.groups(self.groups)
        )

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome; without sources that of the base, with one at 1 that source's."""
        genes = {axis.name: gene for axis, gene in zip(self.axes, genome, strict=True)}
        groups = tuple(self.layout.groups(self.groups))
        merged: dict[str, Value] = {}
        for name, reference in self.sources.items():
            weights = {group: genes[f"weight/{name}/{group}"] for group in groups}
            if len(set(weights.values())) > 1:
                merged[reference] = self.layout.conditionals(self.groups, weights)
            elif weights[groups[0]] != 0:
                merged[reference] = weights[groups[0]]
        if not merged:
            return parent_recipe(self.base, self.dtype)
        if list(merged.values()) == [1.0]:
            return parent_recipe(next(iter(merged)), self.dtype)
        return Recipe(
            merge_method="task_arithmetic",
            base_model=self.base,
            sources=tuple(Source(model=model, parameters={"weight": each}) for model, each in merged.items()),
            dtype=self.dtype,
        )
