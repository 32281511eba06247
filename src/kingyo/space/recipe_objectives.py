"""Objectives computed from a recipe without a model.

    closeness     1 / (1 + |λ| Σᵢ |wᵢ|): 1 for the base, smaller the more of each task vector is added
    few_sources   1 − sources used / all sources
    few_hops      1 − layers of the path / layers of the longest path

All are between 0 and 1, larger is better. A weight per group counts as the mean of its absolute values.
"""

from __future__ import annotations

from collections.abc import Mapping

from kingyo.errors import KingyoError
from kingyo.methods import MergeMethod
from kingyo.recipe import Recipe
from kingyo.recipe.values import Conditional, Value
from kingyo.space.protocol import Bounds

CLOSENESS, FEW_SOURCES, FEW_HOPS = "closeness", "few_sources", "few_hops"
MEASURES = (CLOSENESS, FEW_SOURCES, FEW_HOPS)


def closeness(recipe: Recipe) -> float:
    """Return the closeness to the base; ``require_closeness`` defines the supported recipes."""
    total = sum(
        _magnitude(source.parameters.get("weight", recipe.parameters.get("weight", 1.0)))
        for source in recipe.sources
        if source.model != recipe.base_model
    )
    return 1 / (1 + _magnitude(recipe.parameters.get("lambda", 1.0)) * total)


def few_sources(recipe: Recipe, n_sources: int) -> float:
    """Return the share of sources that a recipe leaves out."""
    return 1 - sum(source.model != recipe.base_model for source in recipe.sources) / n_sources


def few_hops(recipe: Recipe, longest: int) -> float:
    """Return the share of layers, and so of inference time, that a path saves relative to the longest."""
    return 1 - len(recipe.path) / longest


def require_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> None:
    """Check that the weights of a method determine the distance of its merges from the base."""
    if not _adds_task_vectors(method):
        raise _undefined(method.name, "that adds weighted task vectors to a base", method.name)
    if _normalizes(method, values):
        expected = "that does not normalise its weights"
        raise _undefined(method.name, expected, f"{method.name} with normalize: true")


def has_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> bool:
    """Return whether the weights of a method determine the distance of its merges from the base."""
    return _adds_task_vectors(method) and not _normalizes(method, values)


def _adds_task_vectors(method: MergeMethod) -> bool:
    params = {parameter.name: parameter for parameter in method.params}
    return method.needs_base and {"weight", "lambda"} <= params.keys() and params["weight"].per_source


def _normalizes(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> bool:
    normalize = next((param for param in method.params if param.name == "normalize"), None)
    return normalize is not None and bool(values.get("normalize", normalize.default))


def _magnitude(value: Value) -> float:
    points = value if isinstance(value, tuple) else (value,)
    sizes = [_magnitude(p.value) if isinstance(p, Conditional) else abs(float(p)) for p in points]
    return sum(sizes) / len(sizes)


def _undefined(method: str, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"objectives: {CLOSENESS}",
        expected=f"a method {expected}",
        received=received,
        remedy=f"Leave {CLOSENESS} out, or use task_arithmetic"
        f"{', or set merge.parameters.normalize: false' if method != received else ''}.",
    )
