"""Recipe space: the merge method, the sources and the parameters are all searched.

It combines one ``ParameterSpace`` per method. Genes that the chosen method or sources do not use are
inactive: genomes that differ only in these decode to the same recipe, which is scored once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.core.types import Axis, Genome
from kingyo.errors import KingyoError, suggest
from kingyo.merging.methods import MergeMethod, Parameter, takes_base
from kingyo.merging.recipe import Recipe
from kingyo.search.space.parameter import Bounds, ParameterSpace


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """Limits on the number of sources; by default as few as every method takes, and all.

    If it ``is_open``, each source has a gene; else all are selected and ``at_most`` decides.
    """

    at_least: int | None = None
    at_most: int | None = None
    is_open: bool = True

    def axes(self, sources: Sequence[str]) -> tuple[Axis, ...]:
        """Return one binary axis per source, named ``use/ja``; a search begins with all of them."""
        if not self.is_open:
            return ()
        return tuple(Axis(name=axis_name(name), low=0, high=1, kind="binary", start=1) for name in sources)

    def limits(self, method: MergeMethod, n_sources: int) -> tuple[int, int]:
        fewest = max(self.at_least or 1, method.min_sources)
        most = min(limit for limit in (n_sources, self.at_most, method.max_sources) if limit is not None)
        return fewest, most

    def repair(
        self, selected: Sequence[str], strength: Mapping[str, float], limits: tuple[int, int]
    ) -> tuple[str, ...]:
        """Drop the weakest of too many sources, or add the strongest others to too few; keep the order."""
        fewest, most = limits
        ranked = sorted(strength, key=lambda name: (name not in selected, -strength[name]))
        n = min(max(len(selected), fewest), most)
        return tuple(name for name in strength if name in ranked[:n])

    def check(self, methods: Sequence[MergeMethod], n_sources: int) -> None:
        for method in methods:
            fewest, most = self.limits(method, n_sources)
            if fewest > most:
                expected = f"numbers of sources that {method.name} takes, out of {n_sources}"
                received, remedy = f"at least {fewest}, at most {most}", "Change it, or merge.method."
                raise KingyoError("merge.choose_sources", expected, received, remedy)


def axis_name(source: str) -> str:
    return f"use/{source}"


METHOD = "method"
"""Name of the axis that selects the method."""


@dataclass(frozen=True, kw_only=True)
class RecipeSpace:
    """All merges of some or all sources by one of several methods.

    Methods that search a parameter in the same bounds share its axes; with other bounds a method has its own,
    named after the first method with these bounds: ``weight(tsv)/ja/all``.
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
            self.choice.check(methods, min(len(_mergeable(part)) for part in self.parts))
        for part in self.parts:
            self._check_count(part)
        if not self.axes:
            remedy = "Give a parameter a range, such as {from: 0, to: 1}, or list several methods."
            raise KingyoError("merge", "a parameter range or several methods", "fixed values only", remedy)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        names = tuple(part.method_name for part in self.parts)
        method = Axis(name=METHOD, low=0, high=len(names) - 1, kind="categorical", choices=names, start=0)
        chosen = () if self.choice is None else self.choice.axes(list(self.parts[0].sources))
        parameters = {
            axis.name: axis
            for part in self.parts
            for parameter in part.method.params
            for axis in self._axes_of(part, parameter)
        }
        return (*([method] if len(names) > 1 else []), *chosen, *parameters.values())

    def decode(self, genome: Genome) -> Recipe:
        genes = {axis.name: gene for axis, gene in zip(self.axes, genome, strict=True)}
        part = self.parts[round(genes.get(METHOD, 0.0))]
        own = [
            genes[axis.name] for parameter in part.method.params for axis in self._axes_of(part, parameter)
        ]
        recipe = part.decode(tuple(own))
        used = _mergeable(part) if self.choice is None else self._selected_sources(part, self.choice, genes)
        sources = zip(part.sources, recipe.sources, strict=True)
        return replace(recipe, sources=tuple(source for name, source in sources if name in used))

    def _selected_sources(
        self, part: ParameterSpace, choice: SourceChoice, genes: Mapping[str, float]
    ) -> tuple[str, ...]:
        strength = self._weights_of(part, genes)
        selected = [name for name in strength if genes.get(axis_name(name), 1.0) >= 0.5]
        return choice.repair(selected, strength, choice.limits(part.method, len(strength)))

    def _weights_of(self, part: ParameterSpace, genes: Mapping[str, float]) -> dict[str, float]:
        strength = dict.fromkeys(_mergeable(part), 0.0)
        weight = next((parameter for parameter in part.method.params if parameter.per_source), None)
        if weight is None or weight.name not in part.searched:
            return strength
        for name in strength:
            own = [axis for axis in self._axes_of(part, weight) if axis.family == f"{weight.name}/{name}"]
            sizes = [abs(genes[axis.name]) for axis in own] or [abs(part.fixed(weight, name))]
            strength[name] = sum(sizes) / len(sizes)
        return strength

    def _axes_of(self, part: ParameterSpace, parameter: Parameter) -> tuple[Axis, ...]:
        axes = part.axes_of(parameter)
        shared = self._variants.get(parameter.name, {})
        if len(shared) < 2 or not axes:
            return axes
        mark = f"{parameter.name}({shared[axes]})"
        return tuple(replace(axis, name=axis.name.replace(parameter.name, mark, 1)) for axis in axes)

    @cached_property
    def _variants(self) -> dict[str, dict[tuple[Axis, ...], str]]:
        variants: dict[str, dict[tuple[Axis, ...], str]] = {}
        for part in self.parts:
            for parameter in part.method.params:
                axes = part.axes_of(parameter)
                if axes:
                    variants.setdefault(parameter.name, {}).setdefault(axes, part.method.name)
        return variants

    def _check_count(self, part: ParameterSpace) -> None:
        method, n = part.method, len(_mergeable(part))
        too_many = self.choice is None and method.max_sources is not None and n > method.max_sources
        if n < method.min_sources or too_many:
            limit = method.max_sources if too_many else method.min_sources
            expected = f"at {'most' if too_many else 'least'} {limit} besides the base for {method.name}"
            remedy = f"Leave {method.name} out of merge.method, or change merge.choose_sources."
            raise KingyoError("sources", expected, str(n), remedy)


def assign_values(
    methods: Sequence[MergeMethod], values: Mapping[str, float | bool | Bounds]
) -> list[dict[str, float | bool | Bounds]]:
    """Return the values of each method's own parameters.

    A method in which a parameter has no effect gets it only if it has none in any method.
    """
    known = {parameter.name for method in methods for parameter in method.params}
    for name in values:
        if name not in known:
            expected = f"a parameter of {', '.join(method.name for method in methods)}"
            raise KingyoError("merge.parameters", expected, f"'{name}'", suggest(name, known))
    effective = {param.name for method in methods for param in method.params if not param.inert}
    assigned: list[dict[str, float | bool | Bounds]] = []
    for method in methods:
        own = {param.name for param in method.params if not param.inert or param.name not in effective}
        assigned.append({name: value for name, value in values.items() if name in own})
    return assigned


def _mergeable(part: ParameterSpace) -> list[str]:
    base = part.base if takes_base(part.method) else None
    return [name for name, reference in part.sources.items() if reference != base]


def check_base(part: ParameterSpace) -> None:
    if part.method.needs_base and part.base is None:
        remedy = "Name the models' common ancestor as base:, or use a method that needs none, such as linear."
        raise KingyoError("base", f"a base for {part.method.name}", "none", remedy)
