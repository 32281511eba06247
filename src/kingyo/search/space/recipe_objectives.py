"""Objectives computed from a recipe without a model.

    closeness     1 / (1 + |λ| Σᵢ |wᵢ|): 1 for the base, smaller the more of each task vector is added
    few_sources   1 − sources used / all sources
    few_hops      1 − layers of the path / layers of the longest path

All are between 0 and 1, larger is better. A weight per group counts as the mean of its absolute values.
"""

from __future__ import annotations

from collections.abc import Mapping

from kingyo.errors import KingyoError
from kingyo.merging.methods import MergeMethod
from kingyo.merging.recipe import BlockWeights, Conditional, Recipe, Value
from kingyo.search.space.source_values import Bounds

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
    if not has_closeness(method, values):
        raise KingyoError(
            f"objectives: {CLOSENESS}",
            expected="a method that adds weighted task vectors to a base, without normalising the weights",
            received=method.name,
            remedy=f"Leave {CLOSENESS} out, or use task_arithmetic (with normalize: false).",
        )


def has_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> bool:
    """Return whether the weights of a method determine the distance of its merges from the base."""
    params = {parameter.name: parameter for parameter in method.params}
    if not method.needs_base or not {"weight", "lambda"} <= params.keys():
        return False
    normalizes = "normalize" in params and bool(values.get("normalize", params["normalize"].default))
    return params["weight"].per_source and not normalizes


def _magnitude(value: Value) -> float:
    value = value.numbers if isinstance(value, BlockWeights) else value
    points = value if isinstance(value, tuple) else (value,)
    sizes = [_magnitude(p.value) if isinstance(p, Conditional) else abs(float(p)) for p in points]
    return sum(sizes) / len(sizes)
