"""Search spaces: axes, and the recipes that genomes decode to."""

from kingyo.space.dataflow import DataflowSpace as DataflowSpace
from kingyo.space.dataflow import HybridSpace as HybridSpace
from kingyo.space.dataflow import PathSizes as PathSizes
from kingyo.space.dataflow import frankenmerge as frankenmerge
from kingyo.space.dataflow import path_recipe as path_recipe
from kingyo.space.dataflow import path_sizes as path_sizes
from kingyo.space.dataflow import paths_of as paths_of
from kingyo.space.parameter import ParameterSpace as ParameterSpace
from kingyo.space.parameter import group_positions as group_positions
from kingyo.space.parameter import parent_recipe as parent_recipe
from kingyo.space.parameter import uniform_recipe as uniform_recipe
from kingyo.space.protocol import STEPS as STEPS
from kingyo.space.protocol import RecipeDefaults as RecipeDefaults
from kingyo.space.protocol import RoundedSpace as RoundedSpace
from kingyo.space.protocol import SourceSpace as SourceSpace
from kingyo.space.protocol import Space as Space
from kingyo.space.protocol import WithDefaults as WithDefaults
from kingyo.space.protocol import innermost as innermost
from kingyo.space.protocol import probes as probes
from kingyo.space.recipe_space import RecipeSpace as RecipeSpace
from kingyo.space.recipe_space import SourceChoice as SourceChoice
from kingyo.space.recipe_space import assign_values as assign_values
from kingyo.space.recipe_space import check_base as check_base
from kingyo.space.source_values import Bounds as Bounds
from kingyo.space.source_values import SourceValues as SourceValues
