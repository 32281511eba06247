"""The space of whole recipes: which method merges, which sources take part, and the parameters of both.

It puts spaces of one method together. Genes that the chosen method or the chosen sources have no use for are
inactive: genomes that differ in nothing else decode to the same recipe, which is scored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.errors import KingyoError, suggest
from kingyo.methods import MergeMethod, Parameter, takes_base
from kingyo.recipe import Recipe
from kingyo.space.bounds import Bounds
from kingyo.space.parameter import ParameterSpace
from kingyo.space.protocol import SourceSpace
from kingyo.space.source_choice import SourceChoice, use
from kingyo.types import Axis, Genome

METHOD = "method"
"""The name of the axis that chooses the method."""


@dataclass(frozen=True, kw_only=True)
class RecipeSpace(SourceSpace):
    """All merges of given sources, or of some of them, by one of several methods.

    A parameter that several methods search between the same bounds has its axes once; where bounds differ
    each has its own, named by the first method that has these: ``weight(tsv)/ja/all``.

    Attributes:
        parts: by method, what it would be alone; of the same sources, layout and groups.
        choice: how many sources take part; None when all do.
    """

    parts: tuple[ParameterSpace, ...]
    choice: SourceChoice | None = None

    def __post_init__(self) -> None:
        methods = [part.method for part in self.parts]
        names = [part.method_name for part in self.parts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            remedy = "Name every method once."
            raise KingyoError("merge.method", expected="different methods", received=twice, remedy=remedy)
        for part in self.parts:
            check_base(part)
        if self.choice is not None:
            self.choice.check(methods, min(len(_merged(part)) for part in self.parts))
        for part in self.parts:
            self._check_count(part)
        if not self.axes:
            raise KingyoError(
                "merge",
                expected="something that is searched",
                received="fixed values only",
                remedy="Give a parameter a range, such as {from: 0, to: 1}, or list several methods.",
            )

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The method, then the sources, then the parameters of all methods."""
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        names = tuple(part.method_name for part in self.parts)
        method = Axis(name=METHOD, low=0, high=len(names) - 1, kind="categorical", choices=names, start=0)
        chosen = () if self.choice is None else self.choice.axes(list(self.parts[0].sources))
        found = {
            axis.name: axis
            for part in self.parts
            for parameter in part.method.params
            for axis in self._axes_of(part, parameter)
        }
        return (*([method] if len(names) > 1 else []), *chosen, *found.values())

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome.

        Raises:
            ValueError: the genome's length is not the number of axes.
        """
        if len(genome) != len(self.axes):
            raise ValueError(f"genome: expected {len(self.axes)} genes, received {len(genome)}")
        genes = {axis.name: gene for axis, gene in zip(self.axes, genome, strict=True)}
        part = self.parts[round(genes.get(METHOD, 0.0))]
        own = [
            genes[axis.name] for parameter in part.method.params for axis in self._axes_of(part, parameter)
        ]
        recipe = part.decode(tuple(own))
        kept = _merged(part) if self.choice is None else self._kept(part, self.choice, genes)
        sources = zip(part.sources, recipe.sources, strict=True)
        return replace(recipe, sources=tuple(source for name, source in sources if name in kept))

    def bounds_without_known(self) -> Bounds | None:
        """Return those of the first method, if no known model lies within the bounds of any."""
        found = [part.bounds_without_known(can_leave_out=self.choice is not None) for part in self.parts]
        return None if None in found else found[0]

    def _kept(
        self, part: ParameterSpace, choice: SourceChoice, genes: Mapping[str, float]
    ) -> tuple[str, ...]:
        strength = self._strength(part, genes)
        wanted = [name for name in strength if genes.get(use(name), 1.0) >= 0.5]
        return choice.pick(wanted, strength, choice.limits(part.method, len(strength)))

    def _strength(self, part: ParameterSpace, genes: Mapping[str, float]) -> dict[str, float]:
        """The mean size of each source's weights over the groups; 0 for all where none is searched."""
        strength = dict.fromkeys(_merged(part), 0.0)
        weight = next((each for each in part.method.params if each.per_source), None)
        if weight is None or weight.name not in part.searched:
            return strength
        groups = len(part.layout.groups(part.groups))
        sizes = [abs(genes[axis.name]) for axis in self._axes_of(part, weight)]
        for i, name in enumerate(part.sources):
            if name in strength:
                strength[name] = sum(sizes[i * groups : (i + 1) * groups]) / groups
        return strength

    def _axes_of(self, part: ParameterSpace, parameter: Parameter) -> tuple[Axis, ...]:
        """A parameter's axes in this space, in the order that they have in the part."""
        axes = part.axes_of(parameter)
        shared = self._variants.get(parameter.name, {})
        if len(shared) < 2 or not axes:
            return axes
        mark = f"{parameter.name}({shared[axes]})"
        return tuple(replace(axis, name=axis.name.replace(parameter.name, mark, 1)) for axis in axes)

    @cached_property
    def _variants(self) -> dict[str, dict[tuple[Axis, ...], str]]:
        """Parameter -> its different axes -> the first method that has these."""
        found: dict[str, dict[tuple[Axis, ...], str]] = {}
        for part in self.parts:
            for parameter in part.method.params:
                axes = part.axes_of(parameter)
                if axes:
                    found.setdefault(parameter.name, {}).setdefault(axes, part.method.name)
        return found

    def _check_count(self, part: ParameterSpace) -> None:
        """Refuse sources that are too few, or too many where none can be left out."""
        method, n = part.method, len(_merged(part))
        too_many = self.choice is None and method.max_sources is not None and n > method.max_sources
        if n < method.min_sources or too_many:
            limit = method.max_sources if too_many else method.min_sources
            raise KingyoError(
                "sources",
                expected=f"at {'most' if too_many else 'least'} {limit} beside the base for {method.name}",
                received=str(n),
                remedy=f"Leave {method.name} out of merge.method"
                f"{', or set merge.choose_sources' if too_many else ''}.",
            )


def values_of(
    methods: Sequence[MergeMethod], values: Mapping[str, float | bool | Bounds]
) -> list[dict[str, float | bool | Bounds]]:
    """Hand every value to each method that has the parameter; a range to those that it changes something in.

    Raises:
        KingyoError: no method has it.
    """
    known = {parameter.name for method in methods for parameter in method.params}
    for name in values:
        if name not in known:
            raise KingyoError(
                "merge.parameters",
                expected=f"a parameter of {', '.join(method.name for method in methods)}",
                received=f"'{name}'",
                remedy=suggest(name, known),
            )
    useful = {each.name for method in methods for each in method.params if not each.inert}
    found: list[dict[str, float | bool | Bounds]] = []
    for method in methods:
        has = {each.name for each in method.params if not each.inert or each.name not in useful}
        found.append({name: value for name, value in values.items() if name in has})
    return found


def _merged(part: ParameterSpace) -> list[str]:
    """The sources that count: a method that takes a base merges all but the base itself."""
    base = part.base if takes_base(part.method) else None
    return [name for name, reference in part.sources.items() if reference != base]


def check_base(part: ParameterSpace) -> None:
    """Refuse a method on a base where none is named.

    Raises:
        KingyoError: so it is.
    """
    if part.method.needs_base and part.base is None:
        raise KingyoError(
            "base",
            expected=f"a base for {part.method.name}",
            received="none",
            remedy="Name the models' common ancestor as base:, or take a method that needs none, such as "
            "merge: {method: linear}.",
        )
