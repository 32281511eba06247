"""Search spaces: axes, and the recipes that genomes decode to."""

from kingyo.search.space.dataflow import DataflowSpace as DataflowSpace
from kingyo.search.space.dataflow import HybridSpace as HybridSpace
from kingyo.search.space.dataflow import frankenmerge as frankenmerge
from kingyo.search.space.dataflow import path_bytes as path_bytes
from kingyo.search.space.dataflow import path_recipe as path_recipe
from kingyo.search.space.dataflow import paths_of as paths_of
from kingyo.search.space.parameter import Bounds as Bounds
from kingyo.search.space.parameter import ParameterSpace as ParameterSpace
from kingyo.search.space.parameter import SourceValues as SourceValues
from kingyo.search.space.parameter import parent_recipe as parent_recipe
from kingyo.search.space.parameter import uniform_recipe as uniform_recipe
from kingyo.search.space.protocol import STEPS as STEPS
from kingyo.search.space.protocol import RecipeDefaults as RecipeDefaults
from kingyo.search.space.protocol import RoundedSpace as RoundedSpace
from kingyo.search.space.protocol import Space as Space
from kingyo.search.space.protocol import innermost as innermost
from kingyo.search.space.protocol import probes as probes
from kingyo.search.space.recipe_space import RecipeSpace as RecipeSpace
from kingyo.search.space.recipe_space import SourceChoice as SourceChoice
from kingyo.search.space.recipe_space import assign_values as assign_values
from kingyo.search.space.recipe_space import check_base as check_base
