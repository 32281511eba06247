"""Runs that differ in their seed alone: which may stand side by side, and what one takes from another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES
from kingyo.evolution.trial_evaluation import Known
from kingyo.run.provenance import Changes, changed_error, changed_files, has_scores, version_differences
from kingyo.run.renewals import ACCEPTED
from kingyo.run.scoring_code import CODE, VERSIONS
from kingyo.store import DATABASE, RunStore
from kingyo.types import SPLITS, ItemScore, Split

PREFIX = "seed-"
FREE_KEYS = ("name", "seed", "runner", "workers")
"""Keys of a run.yaml that change no score, and the seed."""


def seed_folders(folder: Path) -> dict[int, Path]:
    """The runs below a folder that `kingyo evolve --seeds` made, by seed."""
    found = {path.name.removeprefix(PREFIX): path for path in folder.glob(f"{PREFIX}*/")}
    return {
        int(seed): path
        for seed, path in sorted(found.items())
        if seed.isdecimal() and (path / DATABASE).is_file()
    }


def require_same_setup(folder: Path, facts: Mapping[str, object]) -> None:
    """Check that a run can stand beside those below a folder: they may differ in their seed alone.

    Args:
        folder: of several seeds; none need be there yet.
        facts: of the run, as the store has them: ``config``, and as far as known ``models``, ``code``,
            ``versions``, ``known_paths`` and the ``items`` of each split.

    Raises:
        KingyoError: a run below the folder is of another run.yaml, of other models, items, code or versions.
    """
    for path in seed_folders(folder).values():
        with RunStore.read(path) as store:
            stored = {key: store.items() if key == "items" else store.fact(key) for key in facts}
            changed = _changed(store, facts)
            if changed:
                raise changed_error(store, changed).placed(str(path))
        for key, value in facts.items():
            if key in _OTHER and _settings(key, stored[key]) != _settings(key, value):
                raise KingyoError(
                    str(path),
                    expected="a run that differs from the others in its seed alone",
                    received=f"one with {_OTHER[key]}",
                    remedy="Choose another folder with --run, or bring back what has changed.",
                )


def _changed(store: RunStore, facts: Mapping[str, object]) -> Changes:
    """In what code and versions a run with scores differs from another."""
    if VERSIONS not in facts or not has_scores(store):
        return {}
    before, now = (cast("dict[str, str]", each or {}) for each in (store.fact(CODE), facts.get(CODE)))
    files = changed_files(before, now)
    return {**version_differences(store), **files}


_OTHER = {
    "config": "another run.yaml",
    "models": "other models",
    "items": "other items",
    "known_paths": "other known paths",
}


def scores_of_other_seed(store: RunStore) -> Known:
    """Return what the baselines of another seed's run scored, if this run stands beside one that is alike.

    That is the run of the first other seed that is finished, of the same items, models, code, settings,
    threads and versions, and of no others before: there the same recipe gives the same answers.
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
                and _made_of(other) == _made_of(store)
            ):
                return _scores_of_baselines(other)
    return {}


def _made_of(store: RunStore) -> list[object]:
    facts = ("config", "models", CODE, VERSIONS, "known_paths", "threads", "version")
    return [store.items(), *(_settings(key, store.fact(key)) for key in facts)]


def _scores_of_baselines(store: RunStore) -> Known:
    found: dict[tuple[str, Split], dict[str, ItemScore]] = {}
    for trial in store.trials(BASELINES):
        for split in SPLITS:
            known = store.evaluation(trial.id, split)
            if known is not None and known.failure is None:
                found[trial.recipe_hash, split] = {each.item: each for each in known.scores}
    return found


def _settings(key: str, value: object) -> object:
    if key != "config" or not isinstance(value, dict):
        return value
    keys = cast("dict[str, object]", value)
    return {name: each for name, each in keys.items() if name not in FREE_KEYS}
