"""Parameter space: one gene per searched parameter, source and group of tensors.

A genome decodes to a recipe that mergekit can read where it has the method: values per group become its
``filter`` entries. The space knows no algorithm that searches it and touches no weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kingyo.checkpoints.layout import Layout
from kingyo.errors import KingyoError, suggest
from kingyo.methods import MergeMethod, Parameter
from kingyo.recipe import Recipe, Source, Value
from kingyo.space.bounds import Bounds, check_value, with_start
from kingyo.space.gene_positions import places
from kingyo.space.protocol import SourceSpace
from kingyo.types import Axis, Genome

AVERAGES = ("linear", "task_arithmetic", "singular_bands")
GAINS = ("top", "middle", "rest")
"""Of singular_bands: with all at 1 it is task_arithmetic."""
TRIMMING = ("ties", "dare_ties", "dare_linear")
"""With density 1 and one source of weight 1 these give that source back."""


@dataclass(frozen=True, kw_only=True)
class ParameterSpace(SourceSpace):
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
            check_value(known[name], value)
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

    def known_points(self) -> dict[str, Genome]:
        """Return the sources and ``uniform``, where the method can give them back; see ``SourceSpace``."""
        if not self._gives_sources_back():
            return {}
        names = self.sources
        wanted = {name: {other: float(other == name) for other in names} for name in names}
        if self.method_name in AVERAGES:
            wanted["uniform"] = dict.fromkeys(names, 1 / len(names))
        points = {name: self._genome_of(weights) for name, weights in wanted.items()}
        return {name: genome for name, genome in points.items() if genome is not None}

    def bounds_without_known(self, *, can_leave_out: bool = False) -> Bounds | None:
        """Return the bounds of ``weight`` if no known model lies within them; else None.

        A parent has weight 1, and the others 0 or no part in it; the uniform merge has 1 / n for each of n
        sources. Where weights are normalised equal ones are the uniform merge, so it is always within them.

        Args:
            can_leave_out: whether sources may have no part in a merge.
        """
        bounds, factor = self.searched.get("weight"), self.values.get("lambda", 1.0)
        if bounds is None or isinstance(factor, Bounds) or not self._adds_up():
            return None
        low, high = sorted((factor * bounds.low, factor * bounds.high))
        n = len(self.sources)
        has_parent = low <= 1 <= high and (n == 1 or can_leave_out or low <= 0)
        return None if has_parent or low <= 1 / n <= high else bounds

    def _gives_sources_back(self) -> bool:
        searched, values = set(self.searched), self.values
        fixed = {"density", "lambda", *GAINS} & values.keys() - searched
        if "weight" not in searched or any(values[name] != 1 for name in fixed):
            return False
        if self.method_name in AVERAGES:
            return searched <= {"weight", *GAINS}
        return self.method_name in TRIMMING and searched <= {"weight", "density"}

    def _genome_of(self, weights: Mapping[str, float]) -> Genome | None:
        """Return the point with these weights and 1 for all else; None if it is out of bounds."""
        families = (axis.family.split("/", 1) for axis in self.axes)
        genome = tuple(weights[owner] if name == "weight" else 1.0 for name, owner in families)
        pairs = zip(self.axes, genome, strict=True)
        return genome if all(axis.low <= value <= axis.high for axis, value in pairs) else None

    def _adds_up(self) -> bool:
        """Whether the method adds weighted models or task vectors, and divides by no sum of weights."""
        normalize = {each.name: each.default for each in self.method.params}.get("normalize")
        return self.method_name == "singular_bands" or self.values.get("normalize", normalize) is False

    def _bounds(self, parameter: Parameter) -> Bounds | None:
        value = self.values.get(parameter.name)
        if isinstance(value, Bounds):
            return with_start(value, parameter)
        if value is not None or parameter.search_low is None or parameter.search_high is None:
            return None
        return with_start(Bounds(low=parameter.search_low, high=parameter.search_high), parameter)

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
