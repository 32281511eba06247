"""The numbers of one tensor's merge: a recipe's parameters, resolved and checked against the method's."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.errors import KingyoError, suggest
from kingyo.methods import MergeMethod, MethodValues, Parameter
from kingyo.recipe import Recipe


def check_parameters(recipe: Recipe, method: MergeMethod, merged: Sequence[int]) -> None:
    """Refuse parameters that the method does not know, or that stand where they have no meaning."""
    known = {parameter.name: parameter for parameter in method.params}
    levels = [("parameters", recipe.parameters), *((each.model, each.parameters) for each in recipe.sources)]
    for i, (where, values) in enumerate(levels):
        for name in values:
            if name not in known:
                raise KingyoError(
                    where,
                    expected=f"parameters of {method.name}",
                    received=f"'{name}'",
                    remedy=suggest(name, known),
                )
            if i > 0 and not known[name].per_source:
                remedy = "Give it under parameters: of the recipe."
                raise KingyoError(where, expected="its own values", received=f"'{name}'", remedy=remedy)
            if i > 0 and i - 1 not in merged:
                raise KingyoError(
                    where,
                    expected="no parameters for the base, which has no task vector",
                    received=f"'{name}'",
                    remedy="Leave it out.",
                )


def resolve(
    recipe: Recipe, method: MergeMethod, merged: Sequence[int], tensor: str, depth: float
) -> MethodValues:
    """The values for one tensor; ``merged`` are the positions of the sources without the base."""
    shared: dict[str, float | bool] = {}
    per_source: dict[str, tuple[float, ...]] = {}
    for parameter in method.params:
        if not parameter.per_source:
            value = recipe.value_of(parameter.name, None, tensor, depth)
            shared[parameter.name] = _valid(parameter, value, tensor)
            continue
        per_source[parameter.name] = tuple(
            _valid(parameter, recipe.value_of(parameter.name, i, tensor, depth), recipe.sources[i].model)
            for i in merged
        )
    return MethodValues(shared=shared, per_source=per_source)


def _valid(parameter: Parameter, value: float | bool | None, where: str) -> float | bool:
    if value is None:
        value = parameter.default
    if value is None:
        raise KingyoError(
            f"{parameter.name} of {where}",
            expected=f"a value: {parameter.doc}",
            received="nothing",
            remedy="Give it under parameters: of the model or of the recipe.",
        )
    return parameter.check(value, where)
