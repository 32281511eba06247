"""Find mistakes in the parameters of a recipe: unknown, in the wrong place, invalid or missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kingyo.errors import KingyoError, nearest, suggest
from kingyo.methods import MergeMethod, Parameter, takes_base
from kingyo.recipe import Conditional, Recipe, Slice, SliceSource, Source, Value, Values, Word

ParameterPlace = tuple[str, Values, bool, bool]
"""Name of a place, its parameters, whether they are those of a single model, and whether that is the base."""


def valid(parameter: Parameter, value: Word | None, where: str) -> float | bool:
    """Return the checked value of a parameter, or its default if the value is None.

    Raises:
        KingyoError: there is no default, or the value is of the wrong kind or out of bounds.
    """
    if value is None:
        value = parameter.default
    if value is None:
        raise KingyoError(
            f"{parameter.name} of {where}",
            expected=f"a value: {parameter.doc}",
            received="nothing",
            remedy="Set it under parameters: of the model or of the recipe.",
        )
    if isinstance(value, str):
        raise KingyoError(
            f"{parameter.name} of {where}",
            expected="true or false" if parameter.kind == "bool" else "a number",
            received=f"'{value}'",
            remedy="Correct it; `kingyo list methods METHOD` describes it.",
        )
    if parameter.kind == "bool" and value in (0, 1):  # mergekit allows normalize: 1
        value = bool(value)
    return parameter.check(value, where)


def misplaced_parameters(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Yield an error for each parameter that the method does not have or that is in the wrong place."""
    known = {parameter.name: parameter for parameter in method.params}
    for where, values, is_own, is_base in _places(recipe, method):
        for name in values:
            if name not in known:
                yield KingyoError(
                    where,
                    expected=f"parameters of {method.name}",
                    received=f"'{name}'",
                    remedy=suggest(name, known),
                )
            elif is_own and not known[name].per_source:
                yield KingyoError(
                    where,
                    expected="parameters of a single model",
                    received=f"'{name}'",
                    remedy="Move it to the parameters: of the recipe.",
                )
            elif is_base:
                yield KingyoError(
                    where,
                    expected="no parameters for the base, which has no task vector",
                    received=f"'{name}'",
                    remedy="Remove it; in a run.yaml, remove the base from `sources`.",
                )


def invalid_parameters(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Yield an error for each parameter with a value of the wrong kind or out of bounds."""
    known = {parameter.name: parameter for parameter in method.params}
    for where, values, *_ in _places(recipe, method):
        for name, value in values.items():
            for word in dict.fromkeys(_words(value)) if name in known else ():
                try:
                    valid(known[name], word, where)
                except KingyoError as error:
                    yield error
                    break


def missing_parameters(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Yield an error for each parameter of a complete model that has neither a value nor a default.

    A parameter that is probably misspelt is not missing.
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


def _places(recipe: Recipe, method: MergeMethod) -> Iterator[ParameterPlace]:
    yield "parameters", recipe.parameters, False, False
    yield from _contents("", recipe.sources, recipe.slices, recipe, method)
    for name, module in recipe.modules.items():
        yield f"modules.{name}", module.parameters, False, False
        yield from _contents(f"modules.{name}: ", module.sources, module.slices, recipe, method)


def _contents(
    label: str, sources: Sequence[Source], slices: Sequence[Slice], recipe: Recipe, method: MergeMethod
) -> Iterator[ParameterPlace]:
    yield from _of_models(sources, recipe.base_model, method)
    for i, each in enumerate(slices):
        yield f"{label}slices[{i}]", each.parameters, False, False
        yield from _of_models(each.sources, each.base_model or recipe.base_model, method)


def _of_models(
    sources: Sequence[Source] | Sequence[SliceSource], base: str | None, method: MergeMethod
) -> Iterator[ParameterPlace]:
    for source in sources:
        yield source.model, source.parameters, True, takes_base(method) and source.model == base


def _words(value: Value) -> Iterator[Word]:
    """Yield all single values of a parameter: points of gradients, and values with filters."""
    if not isinstance(value, tuple):
        yield value
        return
    for each in value:
        if isinstance(each, Conditional):
            yield from _words(each.value)
        else:
            yield each
