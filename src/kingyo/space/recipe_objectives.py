"""Objectives read off a recipe, without a model: closeness to the base, how few sources or layers it needs.

    closeness     1 / (1 + |λ| Σᵢ |wᵢ|): 1 is the base itself, less the more of each task vector is added
    few_sources   1 − sources that take part / all sources
    few_hops      1 − layers of the path / layers of the longest path

All lie in 0..1, larger better. A weight that differs by group counts as the mean of its values.
"""

from __future__ import annotations

from collections.abc import Mapping

from kingyo.errors import KingyoError
from kingyo.methods import MergeMethod
from kingyo.recipe import Recipe
from kingyo.recipe.values import Conditional, Value
from kingyo.space.bounds import Bounds

CLOSENESS, FEW_SOURCES, FEW_HOPS = "closeness", "few_sources", "few_hops"
MEASURES = (CLOSENESS, FEW_SOURCES, FEW_HOPS)


def closeness(recipe: Recipe) -> float:
    """How little of the task vectors is added to the base; see ``require_closeness`` for which recipes."""
    total = sum(
        _size(source.parameters.get("weight", recipe.parameters.get("weight", 1.0)))
        for source in recipe.sources
        if source.model != recipe.base_model
    )
    return 1 / (1 + _size(recipe.parameters.get("lambda", 1.0)) * total)


def few_sources(recipe: Recipe, n_sources: int) -> float:
    """The share of the sources that a recipe does without.

    Args:
        recipe: of whole models.
        n_sources: how many there are beside the base.
    """
    return 1 - sum(source.model != recipe.base_model for source in recipe.sources) / n_sources


def few_hops(recipe: Recipe, longest: int) -> float:
    """How much shorter a path is than the longest: the share of all layers' time that it saves.

    Args:
        recipe: of a path.
        longest: how many layers a path may have.
    """
    return 1 - len(recipe.path) / longest


def require_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> None:
    """Refuse a method whose weights do not say how far from the base its merges are.

    Args:
        method: to merge with.
        values: of its parameters, as far as the user or the preset gives any.

    Raises:
        KingyoError: it adds no weighted task vectors to a base, or divides by the weights.
    """
    if not _adds(method):
        raise _undefined(method.name, "whose weights say how much of each task vector is added", method.name)
    if _divides(method, values):
        expected = "that does not divide by its weights, or only their ratios count"
        raise _undefined(method.name, expected, f"{method.name} with normalize: true")


def has_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> bool:
    """Whether the weights of a method say how far from the base its merges are."""
    return _adds(method) and not _divides(method, values)


def _adds(method: MergeMethod) -> bool:
    named = {parameter.name: parameter for parameter in method.params}
    return method.needs_base and {"weight", "lambda"} <= named.keys() and named["weight"].per_source


def _divides(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> bool:
    normalize = next((each for each in method.params if each.name == "normalize"), None)
    return normalize is not None and bool(values.get("normalize", normalize.default))


def _size(value: Value) -> float:
    """The mean magnitude of a number, of one per group, or of those along a gradient."""
    points = value if isinstance(value, tuple) else (value,)
    sizes = [_size(each.value) if isinstance(each, Conditional) else abs(float(each)) for each in points]
    return sum(sizes) / len(sizes)


def _undefined(method: str, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"objectives: {CLOSENESS}",
        expected=f"a method {expected}",
        received=received,
        remedy=f"Leave {CLOSENESS} out, or merge by task_arithmetic"
        f"{', or set merge.parameters.normalize: false' if method != received else ''}.",
    )
