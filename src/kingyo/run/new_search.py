"""Build a search from a space, a strategy and settings."""

from __future__ import annotations

from dataclasses import asdict, replace

from kingyo.evolution import Search
from kingyo.recipe import PASSTHROUGH
from kingyo.run.extensions import limits_of
from kingyo.run.layer_paths import dataflow_space
from kingyo.run.objectives import objectives_of, simplicity_of
from kingyo.run.settings import SearchSettings
from kingyo.run.setup import Setup
from kingyo.run.spaces import vocabularies_of
from kingyo.space import (
    RoundedSpace,
    SourceSpace,
    VocabularySpace,
)
from kingyo.types import Strategy


def new_search(
    name: str, space: SourceSpace, strategy: Strategy, setup: Setup, wanted: SearchSettings
) -> Search:
    """Build a search without objectives, known points and rounding; the store keeps its description."""
    vocabularies, paths = vocabularies_of(setup.config), space.layer_paths()
    is_paths = paths is space
    return Search(
        name=name,
        space=space if vocabularies.is_default else VocabularySpace(space=space, vocabularies=vocabularies),
        strategy=strategy,
        limits=limits_of(wanted.budget),
        screen=wanted.screen,
        seed=setup.config.seed,
        is_asynchronous=wanted.is_asynchronous,
        description={
            "strategy": wanted.strategy,
            "method": PASSTHROUGH if is_paths else ", ".join(wanted.methods),
            "groups": wanted.groups,
            "space": "dataflow" if is_paths else setup.config.space,
            "settings": dict(wanted.settings),
            "screen": asdict(wanted.screen),
            "axes": [{"name": axis.name, "low": axis.low, "high": axis.high} for axis in space.axes],
            **({"layers": dict(paths.n_layers)} if paths is not None else {}),
        },
    )


def completed(search: Search, setup: Setup, wanted: SearchSettings) -> Search:
    """Add the objectives to a search, and round its genes."""
    config, folder = setup.config, setup.folder
    longest = dataflow_space(setup).most_hops if wanted.space == "dataflow" else None
    return replace(
        search,
        objectives=objectives_of(config, folder, wanted, longest=longest),
        simplicity=simplicity_of(config, folder, wanted),
        space=RoundedSpace(space=search.space) if config.merge.genome is None else search.space,
    )
