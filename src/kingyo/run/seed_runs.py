"""Runs that differ only in their seed: check that they do, and reuse scores of baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES
from kingyo.evolution.trial_evaluation import KnownScores
from kingyo.run.choice import CHOICE
from kingyo.run.provenance import (
    ACCEPTED,
    CODE,
    VERSIONS,
    Changes,
    changed_error,
    changed_files,
    has_changed_opened,
    has_scores,
    version_differences,
)
from kingyo.store import DATABASE, RunStore
from kingyo.types import SPLITS, ItemScore, Split

PREFIX = "seed-"
FREE_KEYS = ("name", "seed", "runner", "workers")
"""Keys of a run.yaml that may differ between the runs: the seed, and keys that change no score."""


def seed_folders(folder: Path) -> dict[int, Path]:
    """Return the runs of `kingyo evolve --seeds` in a folder, by seed."""
    folders = {path.name.removeprefix(PREFIX): path for path in folder.glob(f"{PREFIX}*/")}
    return {
        int(seed): path
        for seed, path in sorted(folders.items())
        if seed.isdecimal() and (path / DATABASE).is_file()
    }


def require_same_setup(folder: Path, facts: Mapping[str, object]) -> None:
    """Check that a run differs from the runs in a folder only in its seed.

    Of runs that choose their sources, only the requests are compared.
    """
    if CHOICE in facts:
        facts = {key: facts[key] for key in (CHOICE, "items", CODE, VERSIONS) if key in facts}
    for path in seed_folders(folder).values():
        with RunStore.read(path) as store:
            stored = {key: store.items() if key == "items" else store.fact(key) for key in facts}
            changes = _changes(store, facts)
            if changes:
                raise changed_error(store, changes).placed(str(path))
        for key, value in facts.items():
            if key in _DIFFERENCES and _without_free_keys(key, stored[key]) != _without_free_keys(key, value):
                raise KingyoError(
                    str(path),
                    expected="a run that differs from the others only in its seed",
                    received=f"one with {_DIFFERENCES[key]}",
                    remedy="Choose another folder with --run, or undo the change.",
                )


def _changes(store: RunStore, facts: Mapping[str, object]) -> Changes:
    if VERSIONS not in facts or not has_scores(store):
        return {}
    before, now = (cast("dict[str, str]", code or {}) for code in (store.fact(CODE), facts.get(CODE)))
    files = changed_files(before, now)
    return {**version_differences(store), **files}


_DIFFERENCES = {
    CHOICE: "another run.yaml, or other candidates",
    "config": "another run.yaml",
    "models": "other models",
    "items": "other items",
    "known_paths": "other known paths",
}


def scores_of_other_seed(store: RunStore) -> KnownScores:
    """Return the scores of the baselines of another seed, which are the same in this run.

    The other run is the first finished one with the same items, models, code, settings, threads and versions,
    and without accepted changes.
    """
    if not store.folder.name.startswith(PREFIX):
        return {}
    for path in seed_folders(store.folder.resolve().parent).values():
        if path.name == store.folder.name:
            continue
        with RunStore.read(path) as other:
            if (
                other.status() == "finished"
                and not other.fact(ACCEPTED)
                and not has_changed_opened(other)
                and _contents(other) == _contents(store)
            ):
                return _baseline_scores(other)
    return {}


def _contents(store: RunStore) -> list[object]:
    facts = ("config", "models", CODE, VERSIONS, "known_paths", "threads", "version")
    return [store.items(), *(_without_free_keys(key, store.fact(key)) for key in facts)]


def _baseline_scores(store: RunStore) -> KnownScores:
    scores: dict[tuple[str, Split], dict[str, ItemScore]] = {}
    for trial in store.trials(BASELINES):
        for split in SPLITS:
            evaluation = store.evaluation(trial.id, split)
            if evaluation is not None and evaluation.failure is None:
                scores[trial.recipe_hash, split] = {score.item: score for score in evaluation.scores}
    return scores


def _without_free_keys(key: str, value: object) -> object:
    if not isinstance(value, dict) or key not in ("config", CHOICE):
        return cast("object", value)
    keys = cast("dict[str, object]", value)
    if key == CHOICE:
        return {**keys, "asked": _without_free_keys("config", keys["asked"])}
    return {key: each for key, each in keys.items() if key not in FREE_KEYS}
