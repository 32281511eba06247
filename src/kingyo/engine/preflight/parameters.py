"""Everything that is wrong with the parameters of a recipe, and not just the first.

A plan stops at the first mistake; who reads a list of all of them mends a recipe in one go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kingyo.engine.values import valid
from kingyo.errors import KingyoError, nearest, suggest
from kingyo.methods import MergeMethod
from kingyo.recipe import Conditional, Recipe, Slice, Source, Value, Word


def parameter_errors(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Look at every parameter, wherever it stands: known to the method, of its kind, within its bounds."""
    known = {parameter.name: parameter for parameter in method.params}
    for where, values in _places(recipe):
        for name, value in values.items():
            if name not in known:
                yield KingyoError(
                    where,
                    expected=f"parameters of {method.name}",
                    received=f"'{name}'",
                    remedy=suggest(name, known),
                )
                continue
            for word in dict.fromkeys(_words(value)):
                try:
                    valid(known[name], word, where)
                except KingyoError as error:
                    yield error
                    break


def missing_values(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Look for parameters of whole models that have no default, and that nobody gives a value.

    One that is misspelt is not missing.
    """
    known = [parameter.name for parameter in method.params]
    for source in recipe.sources:
        given = {nearest(name, known) for name in (*recipe.parameters, *source.parameters)}
        for parameter in method.params if source.model != recipe.base_model else ():
            if parameter.per_source and parameter.name not in given:
                try:
                    valid(parameter, None, source.model)
                except KingyoError as error:
                    yield error


def _places(recipe: Recipe) -> Iterator[tuple[str, Mapping[str, Value]]]:
    yield "parameters", recipe.parameters
    yield from _contents("", recipe.sources, recipe.slices)
    for name, module in recipe.modules.items():
        yield f"modules.{name}", module.parameters
        yield from _contents(f"modules.{name}: ", module.sources, module.slices)


def _contents(
    label: str, sources: tuple[Source, ...], slices: tuple[Slice, ...]
) -> Iterator[tuple[str, Mapping[str, Value]]]:
    yield from ((source.model, source.parameters) for source in sources)
    for i, each in enumerate(slices):
        yield f"{label}slices[{i}]", each.parameters
        yield from ((source.model, source.parameters) for source in each.sources)


def _words(value: Value) -> Iterator[Word]:
    """All single values: the points of gradients, and those behind filters."""
    if not isinstance(value, tuple):
        yield value
        return
    for each in value:
        if isinstance(each, Conditional):
            yield from _words(each.value)
        else:
            yield each
