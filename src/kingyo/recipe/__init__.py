"""Recipes: inert descriptions of merges, and their YAML, which mergekit can read, too."""

from kingyo.recipe.block_weights import BlockWeights
from kingyo.recipe.book import NamedRecipe, RecipeBook, load_recipe, load_recipes
from kingyo.recipe.contents import Module, Slice, SliceSource, Source
from kingyo.recipe.conversion import as_path, as_slices, rewritten
from kingyo.recipe.layer_path import (
    FARTHEST,
    MAX_HOPS,
    MERGED,
    PASSTHROUGH,
    Hop,
    cumulative,
    path_as_slices,
    path_of_slices,
)
from kingyo.recipe.recipe import BASE, DTYPES, MERGE, RESIZE, Dtype, Recipe, Resize
from kingyo.recipe.values import Conditional, Value, Values, Word, look_up, selection, selectors

__all__ = [
    "BASE",
    "DTYPES",
    "FARTHEST",
    "MAX_HOPS",
    "MERGE",
    "MERGED",
    "PASSTHROUGH",
    "RESIZE",
    "BlockWeights",
    "Conditional",
    "Dtype",
    "Hop",
    "Module",
    "NamedRecipe",
    "Recipe",
    "RecipeBook",
    "Resize",
    "Slice",
    "SliceSource",
    "Source",
    "Value",
    "Values",
    "Word",
    "as_path",
    "as_slices",
    "cumulative",
    "load_recipe",
    "load_recipes",
    "look_up",
    "path_as_slices",
    "path_of_slices",
    "rewritten",
    "selection",
    "selectors",
]
