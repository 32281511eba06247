"""What a scout has measured, for a run of sources that it chose: points to begin with, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution.trial_evaluation import KnownScores
from kingyo.run.config import RunConfig
from kingyo.run.provenance import CODE, VERSIONS
from kingyo.run.setup import MODELS, Setup
from kingyo.space import SourceSpace, parent_recipe
from kingyo.store import DATABASE, RunStore
from kingyo.types import Genome, ItemScore, Split

SCOUT = "scout"
"""Name of the search of a scout."""
MOST_POINTS = 8
"""Trial merges that a search begins with."""
Weights = Mapping[str, float]
"""Source -> its weight, without those of 0."""


@dataclass(frozen=True, kw_only=True)
class TrialMerge:
    """A trial merge of a scout, and its scores on fit items."""

    weights: Weights
    scores: Mapping[str, ItemScore] = field(default_factory=dict[str, ItemScore])

    @property
    def mean(self) -> float:
        """Mean score."""
        return sum(each.score for each in self.scores.values()) / len(self.scores)


def read_first_merges(config: RunConfig, folder: Path) -> tuple[Weights, ...]:
    """Return the best trial merges of a run's scout that merge two sources of the run or more.

    Raises:
        KingyoError: the run names a folder without a scout.
    """
    if config.scout is None:
        return ()
    with _opened(folder / config.scout) as store:
        merges = [each for each in _trial_merges(store, config) if len(each.weights) > 1]
    return tuple(each.weights for each in sorted(merges, key=lambda each: -each.mean)[:MOST_POINTS])


def first_points(space: SourceSpace, merges: Sequence[Weights]) -> list[Genome]:
    """Return merges as points of a space."""
    genomes = (_genome(space, weights) for weights in merges)
    return [genome for genome in genomes if genome is not None]


def measured_scores(setup: Setup, store: RunStore, space: SourceSpace) -> KnownScores:
    """Return what the scout of a run has measured, by the recipes that the run has for the same merges.

    Nothing is returned if the scout's folder is gone.

    Raises:
        KingyoError: the scout had other items, models or versions.
    """
    folder = setup.folder / (setup.config.scout or "")
    if setup.config.scout is None or not (folder / DATABASE).exists():
        return {}
    with _opened(folder) as scout:
        _require_same(scout, store, setup)
        merges = _trial_merges(scout, setup.config)
    known: dict[tuple[str, Split], Mapping[str, ItemScore]] = {}
    dtype = setup.config.merge.dtype
    for each in merges:
        recipes = [space.decode(genome) for genome in [_genome(space, each.weights)] if genome is not None]
        if not each.weights and setup.models.base is not None:
            recipes.append(parent_recipe(setup.models.base.reference, dtype))
        if list(each.weights.values()) == [1.0]:
            recipes.append(parent_recipe(setup.models.references[next(iter(each.weights))], dtype))
        known |= {(recipe.hash, "fit"): each.scores for recipe in recipes}
    return known


def _opened(folder: Path) -> RunStore:
    if not (folder / DATABASE).exists():
        raise _unusable(folder, "a folder of `kingyo scout`", "none")
    store = RunStore.read(folder)
    if SCOUT not in store.searches():
        store.close()
        raise _unusable(folder, "a folder of `kingyo scout`", "a run of another kind")
    return store


def _trial_merges(store: RunStore, config: RunConfig) -> list[TrialMerge]:
    """Return the merges of sources of a run, with the scores of all trials of each."""
    names = list(_stored_config(store)["sources"])
    joined: dict[tuple[tuple[str, float], ...], dict[str, ItemScore]] = {}
    for trial in store.trials(SCOUT):
        weights = {name: gene for name, gene in zip(names, trial.asked.genome, strict=True) if gene}
        evaluation = store.evaluation(trial.id, "fit")
        if evaluation is not None and evaluation.scores and weights.keys() <= config.sources.keys():
            scores = joined.setdefault(tuple(weights.items()), {})
            scores.update({score.item: score for score in evaluation.scores})
    return [TrialMerge(weights=dict(key), scores=scores) for key, scores in joined.items()]


def _stored_config(store: RunStore) -> Mapping[str, dict[str, str]]:
    return cast("Mapping[str, dict[str, str]]", store.fact("config"))


def _genome(space: SourceSpace, weights: Weights) -> Genome | None:
    """Return the genome with these weights, or None if the space has other axes than weights of sources."""
    genes: list[float] = []
    for axis in space.axes:
        parameter, _, owner = axis.family.partition("/")
        gene = weights.get(owner, 0.0)
        if parameter != "weight" or not owner or not axis.low <= gene <= axis.high:
            return None
        genes.append(gene)
    return tuple(genes)


def _require_same(scout: RunStore, store: RunStore, setup: Setup) -> None:
    """Check that a run and its scout have the same fit items, versions and models of the same names."""
    if scout.items()["fit"] != store.items()["fit"]:
        raise _unusable(scout.folder, "the fit items of this run", "others")
    for fact in (CODE, VERSIONS, "threads"):
        if scout.fact(fact) != store.fact(fact):
            raise _unusable(scout.folder, f"the {fact} of this run", "others")
    config = _stored_config(scout)
    before, current = (cast("Mapping[str, object]", each.fact(MODELS)) for each in (scout, store))
    theirs = {**config["sources"], "base": cast("str", config.get("base"))}
    for name, model in setup.models.named.items():
        if name in theirs and before.get(theirs[name]) != current[model.reference]:
            raise _unusable(scout.folder, f"the model {name} of this run", "another one")


def _unusable(folder: Path, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"scout: {folder}",
        expected=expected,
        received=received,
        remedy="Run `kingyo scout` again, or delete the key `scout` from the run.yaml.",
    )
