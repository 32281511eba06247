"""Runs that differ only in their seed: check that they do, and reuse scores of baselines."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS
from kingyo.errors import KingyoError
from kingyo.runs.choice import REQUEST, ChoiceRequest
from kingyo.runs.provenance import (
    ACCEPTED,
    CODE,
    VERSIONS,
    changed_error,
    changed_files,
    has_changed_opened,
    has_scores,
    version_differences,
)
from kingyo.runs.setup import MODELS, THREADS
from kingyo.search.evolution import BASELINES
from kingyo.search.evolution.trial_evaluation import KnownScores
from kingyo.store import DATABASE, RunStore

PREFIX = "seed-"
FREE_KEYS = ("name", "seed", "runner", "workers")
"""Keys of a run.yaml that may differ between the runs: the seed, and keys that change no score."""


def seed_folders(folder: Path) -> dict[int, Path]:
    folders = {path.name.removeprefix(PREFIX): path for path in folder.glob(f"{PREFIX}*/")}
    return {
        int(seed): path
        for seed, path in sorted(folders.items())
        if seed.isdecimal() and (path / DATABASE).is_file()
    }


def require_one_run(folder: Path) -> None:
    """Refuse the folder of several seeds, because each of them is a run."""
    if seeds := seed_folders(folder):
        expected = "the folder of one run"
        remedy = f"Name one of them, such as {next(iter(seeds.values()))}."
        raise KingyoError(str(folder), expected, f"the runs of {counted(len(seeds), 'seed')}", remedy)


def require_same_setup(folder: Path, facts: Mapping[str, object]) -> None:
    """Check that a run differs from the runs in a folder only in its seed.

    Of runs that choose their sources, only the requests are compared.
    """
    if REQUEST in facts:
        facts = {key: facts[key] for key in (REQUEST, "items", CODE, VERSIONS) if key in facts}
    for path in seed_folders(folder).values():
        with RunStore.read(path) as store:
            stored = {key: store.items() if key == "items" else store.fact(key) for key in facts}
            if VERSIONS in facts and has_scores(store):
                now = cast("Mapping[str, str]", facts.get(CODE, {}))
                if changes := {**version_differences(store), **changed_files(store.fact(CODE), now)}:
                    raise changed_error(store, changes).placed(str(path))
        for key, value in facts.items():
            if key in _DIFFERENCES and _without_free_keys(key, stored[key]) != _without_free_keys(key, value):
                expected = "a run that differs from the others only in its seed"
                remedy = "Choose another folder with --run, or undo the change."
                raise KingyoError(str(path), expected, f"one with {_DIFFERENCES[key]}", remedy)


_DIFFERENCES = {
    REQUEST: "another run.yaml, or other candidates",
    "config": "another run.yaml",
    MODELS: "other models",
    "items": "other items",
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
                return {
                    (trial.recipe_hash, split): {score.item: score for score in evaluation.scores}
                    for trial in other.trials(BASELINES)
                    for split in SPLITS
                    if (evaluation := other.evaluation(trial.id, split)) is not None
                    and evaluation.failure is None
                }
    return {}


def _contents(store: RunStore) -> list[object]:
    facts = ("config", MODELS, CODE, VERSIONS, THREADS, "version")
    return [store.items(), *(_without_free_keys(key, store.fact(key)) for key in facts)]


def _without_free_keys(key: str, value: object) -> object:
    if isinstance(value, ChoiceRequest):
        keys = cast("dict[str, object]", REQUEST.write(value))
        return {**keys, "asked": _without_free_keys("config", keys["asked"])}
    if key != "config" or not isinstance(value, Mapping):
        return value
    return {name: each for name, each in cast("Mapping[str, object]", value).items() if name not in FREE_KEYS}
