"""From genomes to recipes: the axes of a search, and what a point on them means."""

from kingyo.space.bounds import Bounds
from kingyo.space.dataflow import DataflowSpace, frankenmerge, path_recipe
from kingyo.space.gene_positions import places
from kingyo.space.hybrid import HybridSpace
from kingyo.space.mergekit_genome import GenomeLayout, MergekitGenome
from kingyo.space.parameter import ParameterSpace, parent_recipe, uniform_recipe
from kingyo.space.path_sizes import PathSizes, path_sizes
from kingyo.space.probe_genomes import probes
from kingyo.space.protocol import SourceSpace, Space
from kingyo.space.recipe_space import RecipeSpace, check_base, values_of
from kingyo.space.rounded import STEPS, RoundedSpace
from kingyo.space.source_choice import SourceChoice
from kingyo.space.vocabularies import JoinedSpace, Vocabularies

__all__ = [
    "STEPS",
    "Bounds",
    "DataflowSpace",
    "GenomeLayout",
    "HybridSpace",
    "JoinedSpace",
    "MergekitGenome",
    "ParameterSpace",
    "PathSizes",
    "RecipeSpace",
    "RoundedSpace",
    "SourceChoice",
    "SourceSpace",
    "Space",
    "Vocabularies",
    "check_base",
    "frankenmerge",
    "parent_recipe",
    "path_recipe",
    "path_sizes",
    "places",
    "probes",
    "uniform_recipe",
    "values_of",
]
