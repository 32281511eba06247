"""Build the search spaces of a run."""

from __future__ import annotations

from dataclasses import replace

from kingyo.methods import METHODS, takes_base
from kingyo.recipe import Recipe
from kingyo.run.config import RunConfig
from kingyo.run.config_sections import Choose, GenomeConfig
from kingyo.run.layer_paths import dataflow_space
from kingyo.run.objectives import methods_with_values
from kingyo.run.settings import SearchSettings
from kingyo.run.setup import Setup
from kingyo.space import (
    GenomeLayout,
    HybridSpace,
    MergekitGenome,
    ParameterSpace,
    RecipeSpace,
    SourceChoice,
    SourceSpace,
    Vocabularies,
    check_base,
)


def space_of(setup: Setup, wanted: SearchSettings, merge: Recipe | None = None) -> SourceSpace:
    """Return the space of a search.

    Args:
        setup: setup of the run.
        wanted: settings of the search.
        merge: winner of the weight search before a path search.
    """
    if wanted.space == "dataflow":
        return dataflow_space(setup, merge)
    if setup.config.hybrid.joint:
        return HybridSpace(merges=merges_of(setup, wanted), paths=dataflow_space(setup, first_merge(setup)))
    return merges_of(setup, wanted)


def first_merge(setup: Setup) -> Recipe:
    """Return the merge at the start of every axis of weights."""
    merges = merges_of(setup, setup.settings.controls)
    return merges.decode(tuple(axis.first for axis in merges.axes))


def merges_of(setup: Setup, wanted: SearchSettings) -> SourceSpace:
    """Return the space of weights of a search: one method, or a choice of methods and sources."""
    genome = setup.config.merge.genome
    if genome is not None:
        return _genome_space(setup, genome, wanted)
    choice = choice_of(setup.config.merge.choose_sources)
    if len(wanted.methods) == 1 and choice is None:
        return parameter_space(setup, wanted)
    parts = [
        parameter_space(setup, replace(wanted, methods=(name,), values=values), is_part=True)
        for name, (_, values) in zip(wanted.methods, methods_with_values(wanted, setup.folder), strict=True)
    ]
    return RecipeSpace(parts=tuple(parts), choice=choice)


def _genome_space(setup: Setup, genome: GenomeConfig, wanted: SearchSettings) -> MergekitGenome:
    models = setup.models
    return MergekitGenome(
        method=wanted.methods[0],
        sources=models.references,
        base=models.base.reference if models.base is not None else None,
        n_layers=models.skeleton.layout.n_blocks,
        layout=genome_layout(genome),
        dtype=setup.config.merge.dtype,
        seed=setup.config.seed,
    )


def genome_layout(genome: GenomeConfig) -> GenomeLayout:
    """Return the layout of the genes in a genome file of mergekit-evolve."""
    return GenomeLayout(**genome.model_dump())


def parameter_space(setup: Setup, wanted: SearchSettings, *, is_part: bool = False) -> ParameterSpace:
    """Return the space of one method; ``is_part``: part of a space that chooses methods or sources."""
    (name,) = wanted.methods
    config, models = setup.config, setup.models
    method, sources = METHODS.get(name, setup.folder), models.references
    base = models.base.reference if models.base is not None else None
    if config.merge.genome is not None and takes_base(method):  # genome files may list it, without effect
        sources = {source: reference for source, reference in sources.items() if reference != base}
    part = ParameterSpace(
        method=method,
        method_name=name,
        sources=sources,
        base=base,
        layout=models.skeleton.layout,
        groups=wanted.groups,
        values=wanted.values,
        dtype=config.merge.dtype,
        seed=config.seed,
        is_part=is_part,
    )
    if config.merge.genome is None:  # in genome files, each slice of slerp has its own base
        check_base(part)
    return part


def choice_of(choose: Choose | bool) -> SourceChoice | None:
    """Return the choice of sources; None if every merge has all of them."""
    if isinstance(choose, bool):
        return SourceChoice() if choose else None
    return SourceChoice(at_least=choose.at_least, at_most=choose.at_most)


def vocabularies_of(config: RunConfig) -> Vocabularies:
    """Return how to merge models with different vocabularies."""
    merge, genome = config.merge, config.merge.genome
    return Vocabularies(
        resize=merge.resize,
        tokenizer_source=merge.tokenizer_source or (None if genome is None else genome.tokenizer_source),
        tokenizer=merge.tokenizer,
    )
