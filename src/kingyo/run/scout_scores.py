"""Scores that a run copies from its scout, if both score the same models on the same items alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from kingyo.evolution.trial_evaluation import KnownScores
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.recipe import Recipe
from kingyo.run.config import RunConfig
from kingyo.run.provenance import CODE, VERSIONS, has_changed_opened
from kingyo.run.scouted import SCOUT, TrialMerge, genome_of, open_scout, trial_merges, unusable
from kingyo.run.setup import MODELS, Setup, stored_config
from kingyo.run.spaces import shared_keys
from kingyo.space import RecipeDefaults, SourceSpace, parent_recipe
from kingyo.store import DATABASE, RunStore
from kingyo.types import Item, Split

Facts = Callable[[str], object]
"""Name of a fact of a run -> its value."""


def require_same_scout(setup: Setup, facts: Mapping[str, object], fit: Sequence[Item]) -> None:
    """Check before a run begins that it may copy the scores of its scout.

    Args:
        setup: the run.
        facts: its facts.
        fit: its fit items.

    Raises:
        KingyoError: the scout had other items, settings, models or versions.
    """
    if setup.config.scout is None:
        return
    with open_scout(setup.folder / setup.config.scout) as scout:
        different = _difference(scout, setup, facts.get, fit)
        if different is not None:
            raise unusable(scout.folder, f"the {different} of this run", "others")


def measured_scores(setup: Setup, store: RunStore, space: SourceSpace) -> KnownScores:
    """Return what the scout of a run has measured, by the recipes that the run has for the same merges.

    Nothing is returned if the scout is gone, if it differs from the run by now, or if the run merges
    otherwise: in another dtype, other parts, or with another frame.
    """
    folder = setup.folder / (setup.config.scout or "")
    if setup.config.scout is None or not (folder / DATABASE).exists():
        return {}
    with RunStore.read(folder) as scout:
        if SCOUT not in scout.searches():
            return {}
        if _difference(scout, setup, store.fact, store.items()["fit"]) is not None:
            return {}
        if not _merges_alike(scout, setup, store.fact(MODELS)):
            return {}
        merges = trial_merges(scout, setup.config)
    return {key: each.scores for each in merges for key in _keys(each, setup, space)}


def _keys(merge: TrialMerge, setup: Setup, space: SourceSpace) -> list[tuple[str, Split]]:
    """Return the keys of the run's recipes of a trial merge."""
    models, dtype, keys = setup.models, setup.config.merge.dtype, shared_keys(setup)
    genome = genome_of(space, merge.weights)
    recipes = [] if genome is None else [space.decode(genome)]
    recipes = [each for each in recipes if _is_plain_sum(each)]
    if not merge.weights and models.base is not None:
        recipes.append(parent_recipe(models.base.reference, dtype))
    if list(merge.weights.values()) == [(1.0,)]:
        recipes.append(parent_recipe(models.references[next(iter(merge.weights))], dtype))
    return [(keys.apply(recipe).hash, "fit") for recipe in recipes]


def _is_plain_sum(recipe: Recipe) -> bool:
    """Return whether a recipe adds weighted task vectors, as trial merges do, and nothing else."""
    parameters = {name for source in recipe.sources for name in source.parameters}
    return recipe.merge_method == "task_arithmetic" and not recipe.parameters and parameters == {"weight"}


def _merges_alike(scout: RunStore, setup: Setup, models: object) -> bool:
    """Return whether equal weights of a scout and of a run are the same merge."""
    theirs, _ = stored_config(scout)
    keys, trials = shared_keys(setup), scout.trials(SCOUT)
    if theirs.merge.dtype != setup.config.merge.dtype or keys != RecipeDefaults(frame=keys.frame):
        return False
    frame = read_recipe(trials[0]).frame if trials else None
    if frame is None or keys.frame is None:
        return frame == keys.frame
    old, new = (cast("Mapping[str, str]", each) for each in (scout.fact(MODELS), models))
    return old.get(frame) == new[keys.frame]


def _difference(scout: RunStore, setup: Setup, facts: Facts, fit: Sequence[Item]) -> str | None:
    """Return what of a scout differs from a run so that scores may differ, or None."""
    theirs, _ = stored_config(scout)
    if list(scout.items()["fit"]) != list(fit):
        return "fit items"
    if _scoring(theirs) != _scoring(setup.config):
        return "task, device or batch size"
    if scout.fact("threads") != facts("threads"):
        return "threads"
    for name in (VERSIONS, CODE):  # a run may have more, such as peft for the control `trained`
        if not _without_place(scout.fact(name)) <= _without_place(facts(name)):
            return name
    if has_changed_opened(scout):
        return "files that graders read"
    return _different_model(theirs, setup, scout.fact(MODELS), facts(MODELS))


def _scoring(config: RunConfig) -> list[object]:
    """Return the settings that scores depend on; of files only the names, since ``CODE`` has their hashes."""
    specs = {
        name: (_without_folders(spec.kind_name), _without_folders(spec.options))
        for name, spec in config.specs.items()
    }
    return [specs, config.device, config.batch_size, config.kind]


def _without_folders(value: object) -> object:
    if isinstance(value, str):
        path = Path(value)
        exists = os.path.exists(value.partition(":")[0])  # noqa: PTH110  (no error for a long text)
        return path.name if path.is_absolute() and exists else value
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {_without_folders(key): _without_folders(each) for key, each in pairs}
    if isinstance(value, list | tuple):
        return [_without_folders(each) for each in cast("Sequence[object]", value)]
    return value


def _without_place(fact: object) -> set[tuple[str, str]]:
    """Return libraries with their versions, or names of files, without their folders, with their hashes."""
    return {(Path(name).name, value) for name, value in cast("dict[str, str]", fact or {}).items()}


def _different_model(theirs: RunConfig, setup: Setup, before: object, current: object) -> str | None:
    """Return the first model of a run that is another one under the same name in its scout."""
    old, new = (cast("Mapping[str, str]", each) for each in (before, current))
    named = {**theirs.sources, "base": theirs.base or ""}
    for name, model in setup.models.named.items():
        if name in named and old.get(named[name]) != new[model.reference]:
            return f"model {name}"
    return None
