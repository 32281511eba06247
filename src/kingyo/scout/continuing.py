"""Begin a stored choice, or continue it if it is the same; say what helps if it cannot go on.

A choice is the same if the models have the same weights and the task has the same items: the working
directory and the project may be elsewhere. Its trial merges keep the references that it began with.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from kingyo.checkpoints import fingerprints_of, is_as_stamped
from kingyo.errors import KingyoError, MistakesError
from kingyo.run.begin import begin
from kingyo.run.config import RunConfig
from kingyo.run.provenance import CODE, changed_error, differences, has_scores, stored_code, user_code
from kingyo.run.resume import require_same_code
from kingyo.run.run import Run
from kingyo.run.setup import MODELS, STAMPS, as_fact, require_same_models, stored_config
from kingyo.store import DATABASE, OPTIONS, RunStore

ELSEWHERE = "Choose another folder with --out."
LIMITS = {"min_gain": "--min-gain", "most": "--most", "capacity": "--max-size"}
SIZES, MEASUREMENTS = ("costs",), ("features", "similarity")
"""Names of options of a choice that the user does not give."""
_WORDS = {
    r"start a new run( with `kingyo evolve`)?": "choose another folder with --out",
    r"Make one with `kingyo evolve[^`]*`": "Delete the folder, or choose another one with --out",
    r"`kingyo (resume|evolve)[^`]*`": "the same command",
    r"another run folder \(--run\)": "another folder with --out",
    r"with --run\b": "with --out",
    r"copy the run; `kingyo show` works without": "choose another one with --out",
    r"; `kingyo show` works meanwhile": ", then repeat the same command, or choose another folder with --out",
}
"""What remedies say of a run -> what they say of a scout, whose database is like a run's."""


@contextmanager
def scout_remedies() -> Generator[None]:
    """Let errors about runs name what helps a scout."""
    try:
        yield
    except MistakesError:
        raise
    except KingyoError as error:
        remedy = error.remedy
        for of_run, of_scout in _WORDS.items():
            remedy = re.sub(of_run, of_scout, remedy)
        if remedy == error.remedy:
            raise
        raise KingyoError(
            error.argument, expected=error.expected, received=error.received, remedy=remedy
        ) from error


@contextmanager
def begun(run: Run, out: Path) -> Generator[Run]:
    """Open the stored choice in a folder, or begin one.

    Raises:
        KingyoError: the run cannot begin, or another choice is in the folder.
    """
    with scout_remedies(), _opened(run, out) as store:
        same = _as_stored(run, store)
        changes = differences(store, same.config, same.folder)
        if changes and has_scores(store):
            again = f"Or delete {store.folder}, and run the same command again: it scores everything anew."
            raise changed_error(store, changes, f"{ELSEWHERE} {again}")
        require_same_code(same)
        yield same


def _opened(run: Run, out: Path) -> RunStore:
    if (out / DATABASE).exists():
        return RunStore.open(out, by_scout=True)
    try:
        return begin(run, out).begun
    except KingyoError:
        if not (out / DATABASE).exists():
            raise
    return RunStore.open(out, by_scout=True)  # another process has begun meanwhile


def require_same_options(store: RunStore, options: Mapping[str, object]) -> None:
    """Store the options of a choice, or check that they are those that it began with."""
    stored = cast("Mapping[str, object] | None", store.fact(OPTIONS))
    if stored is None:
        store.set_fact(OPTIONS, options)
        return
    current = json.loads(json.dumps(options))
    names = (*LIMITS, *SIZES, *MEASUREMENTS)
    name = next((name for name in names if stored[name] != current[name]), None)
    if name in LIMITS:
        raise _other(store, f"the limit {LIMITS[name]}", f"{current[name]} instead of {stored[name]}")
    if name in SIZES:
        raise _other(store, "the sizes of the candidates", "others")
    if name in MEASUREMENTS:
        raise _other(store, "the measurements of the weights", "others, as with another --max-bytes")


def _other(store: RunStore, what: str, received: str, which: str = "") -> KingyoError:
    expected = f"{what} that the choice began with{which}"
    return KingyoError(str(store.folder), expected=expected, received=received, remedy=ELSEWHERE)


def _as_stored(run: Run, store: RunStore) -> Run:
    """Return a run with the references that its trial merges are stored with; paths may have changed."""
    stored, folder = stored_config(store)
    if _is_placed_alike(run.folder, store):
        folder = run.folder.resolve()
    run = replace(run, folder=folder)
    if as_fact(run.config) == store.fact("config"):
        require_same_models(store, run.models)
    else:
        _require_same(run, stored, store)
        run = _with_references(run, {**stored.sources, "base": stored.base or ""}, list(stored.sources))
    _store_place(run, store)
    return run.begun_in(store)


def _is_placed_alike(folder: Path, store: RunStore) -> bool:
    """Return whether a folder lies beside the scout's as the one that stored paths are relative to."""
    return os.path.relpath(folder.resolve(), store.folder.resolve()) == store.fact("folder_from_run")


def _require_same(run: Run, stored: RunConfig, store: RunStore) -> None:
    """Check that a choice with another config differs from the stored one only in its paths."""
    config = run.config
    if config.seed != stored.seed:
        raise _other(store, "the seed", f"{config.seed} instead of {stored.seed}")
    if config.sources.keys() != stored.sources.keys():
        names = f": {', '.join(stored.sources)}"
        raise _other(store, "the candidates", ", ".join(config.sources), names)
    others = _other_models(run, stored, store)
    if others:
        raise _other(store, "the candidates", f"other weights of {', '.join(others)}")
    before, now = cast("dict[str, object]", store.fact("config")), as_fact(config)
    keys = sorted({*before, *now} - {"seed", "base", "sources"})
    different = [key for key in keys if not _is_alike(before.get(key), now.get(key))]
    if set(different) <= {"task", "tasks"} and (different or store.items()["fit"] != run.items["fit"]):
        raise _other(store, "the task", "another one")
    if different:
        what = {"merge": "the frame"}.get(different[0], f"the key {different[0]}")
        raise _other(store, what, "another one")


def _other_models(run: Run, stored: RunConfig, store: RunStore) -> list[str]:
    """Return the names of models that differ from the stored ones in their files, wherever those are."""
    references = {**stored.sources, "base": stored.base or ""}
    fingerprints, stamps = (cast("dict[str, object]", store.fact(name)) for name in (MODELS, STAMPS))
    return [
        name
        for name, model in run.models.named.items()
        if not is_as_stamped(model, stamps.get(references[name]))
        and fingerprints_of([model])[model.reference] != fingerprints.get(references[name])
    ]


def _is_alike(old: object, new: object) -> bool:
    """Compare settings; of existing files only the names, since items and hashes are compared, too."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, now = cast("Mapping[str, object]", old), cast("Mapping[str, object]", new)
        return before.keys() == now.keys() and all(_is_alike(before[key], now[key]) for key in before)
    if isinstance(old, list) and isinstance(new, list):
        before, now = cast("Sequence[object]", old), cast("Sequence[object]", new)
        return len(before) == len(now) and all(map(_is_alike, before, now))
    if isinstance(old, str) and isinstance(new, str) and os.path.isabs(old) and os.path.isabs(new):  # noqa: PTH117
        exists = os.path.exists(new.partition(":")[0])  # noqa: PTH110  (no error for a long text)
        return old == new or (exists and Path(old).name == Path(new).name)
    return old == new


def _with_references(run: Run, references: Mapping[str, str], order: Sequence[str]) -> Run:
    """Return a run whose models, opened where they are now, have other references."""
    models, config = run.models, run.config
    assert models.base is not None, "a choice needs a base"
    framing = models.framing
    if framing is not None and models.frame is not None:
        framing = replace(framing, reference=references[models.frame])
    renamed = replace(
        models,
        base=replace(models.base, reference=references["base"]),
        sources={name: replace(models.sources[name], reference=references[name]) for name in order},
        framing=framing,
    )
    changes = {"base": references["base"], "sources": {name: references[name] for name in order}}
    return replace(run, config=config.model_copy(update=changes), models=renamed)


def _store_place(run: Run, store: RunStore) -> None:
    """Store where task and code are now, so that processes and runs that read the scout find them."""
    here = {Path(name).name: name for name in user_code(run.config, run.folder) if Path(name).is_absolute()}
    code = {
        here.get(Path(name).name, name) if Path(name).is_absolute() else name: value
        for name, value in stored_code(store).items()
    }
    facts = {"config": as_fact(run.config), "folder": str(run.folder), CODE: code}
    if any(store.fact(name) != value for name, value in facts.items()):
        store.reopen(facts, {})
