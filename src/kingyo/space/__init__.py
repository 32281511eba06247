"""Search spaces: axes, and the recipes that genomes decode to."""

from kingyo.space.bounds import Bounds
from kingyo.space.dataflow import DataflowSpace, frankenmerge, path_recipe
from kingyo.space.gene_positions import group_positions
from kingyo.space.hybrid import HybridSpace
from kingyo.space.mergekit_genome import GenomeLayout, MergekitGenome
from kingyo.space.parameter import ParameterSpace, parent_recipe, uniform_recipe
from kingyo.space.path_sizes import PathSizes, path_sizes
from kingyo.space.probe_genomes import probes
from kingyo.space.protocol import SourceSpace, Space
from kingyo.space.recipe_space import RecipeSpace, assign_values, check_base
from kingyo.space.rounded import STEPS, RoundedSpace
from kingyo.space.source_choice import SourceChoice
from kingyo.space.vocabularies import Vocabularies, VocabularySpace

__all__ = [
    "STEPS",
    "Bounds",
    "DataflowSpace",
    "GenomeLayout",
    "HybridSpace",
    "MergekitGenome",
    "ParameterSpace",
    "PathSizes",
    "RecipeSpace",
    "RoundedSpace",
    "SourceChoice",
    "SourceSpace",
    "Space",
    "Vocabularies",
    "VocabularySpace",
    "assign_values",
    "check_base",
    "frankenmerge",
    "group_positions",
    "parent_recipe",
    "path_recipe",
    "path_sizes",
    "probes",
    "uniform_recipe",
]
