"""Recipes: the inert description of merges, and their form in YAML that mergekit reads too."""

from kingyo.recipe.book import NamedRecipe, RecipeBook, load_recipe, load_recipes
from kingyo.recipe.one import DTYPES, PART_USES, RESIZE, Dtype, PartUse, Recipe, Resize
from kingyo.recipe.pieces import Module, Slice, SliceSource, Source
from kingyo.recipe.values import Conditional, Plain, Value, Values, Word, look_up

__all__ = [
    "DTYPES",
    "PART_USES",
    "RESIZE",
    "Conditional",
    "Dtype",
    "Module",
    "NamedRecipe",
    "PartUse",
    "Plain",
    "Recipe",
    "RecipeBook",
    "Resize",
    "Slice",
    "SliceSource",
    "Source",
    "Value",
    "Values",
    "Word",
    "load_recipe",
    "load_recipes",
    "look_up",
]
