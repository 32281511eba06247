"""Search spaces: axes, and the recipes that genomes decode to."""

from kingyo.space.dataflow import (
    DataflowSpace,
    HybridSpace,
    PathSizes,
    frankenmerge,
    path_recipe,
    path_sizes,
    paths_of,
)
from kingyo.space.parameter import ParameterSpace, group_positions, parent_recipe, uniform_recipe
from kingyo.space.protocol import Bounds, SourceSpace, Space, probes
from kingyo.space.recipe_space import RecipeSpace, SourceChoice, assign_values, check_base
from kingyo.space.source_values import SourceValues
from kingyo.space.wrapped import STEPS, RoundedSpace, SharedKeys, SharedKeysSpace, innermost

__all__ = [
    "STEPS",
    "Bounds",
    "DataflowSpace",
    "HybridSpace",
    "ParameterSpace",
    "PathSizes",
    "RecipeSpace",
    "RoundedSpace",
    "SharedKeys",
    "SharedKeysSpace",
    "SourceChoice",
    "SourceSpace",
    "SourceValues",
    "Space",
    "assign_values",
    "check_base",
    "frankenmerge",
    "group_positions",
    "innermost",
    "parent_recipe",
    "path_recipe",
    "path_sizes",
    "paths_of",
    "probes",
    "uniform_recipe",
]
