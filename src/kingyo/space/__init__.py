"""From genomes to recipes: the axes of a search, and what a point on them means."""

from kingyo.space.parameter import Bounds, ParameterSpace, parent_recipe, uniform_recipe

__all__ = ["Bounds", "ParameterSpace", "parent_recipe", "uniform_recipe"]
