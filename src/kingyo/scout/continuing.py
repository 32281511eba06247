"""Begin a stored choice, or continue it if it is the same; say what helps if it cannot go on."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError, MistakesError
from kingyo.run.begin import begin
from kingyo.run.provenance import changed_error, differences, has_scores
from kingyo.run.resume import require_same_code
from kingyo.run.run import Run
from kingyo.run.setup import as_fact, require_same_models, stored_config
from kingyo.store import DATABASE, OPTIONS, RunStore

ELSEWHERE = "Choose another folder with --out."
LIMITS = {"min_gain": "--min-gain", "most": "--most", "capacity": "--max-size"}
SIZES, MEASUREMENTS = ("costs",), ("features", "similarity", "norms")
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
"""Words in remedies for a run -> words that help a scout, whose database has the same form."""


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
        _require_same(run, store)
        changes = differences(store, run.config, run.folder)
        if changes and has_scores(store):
            again = f"Or delete {store.folder}, and run the same command again: it scores everything anew."
            raise changed_error(store, changes, f"{ELSEWHERE} {again}")
        same = run.begun_in(store)
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
        now, before = ("no limit" if each[name] is None else each[name] for each in (current, stored))
        raise _other(store, f"the limit {LIMITS[name]}", f"{now} instead of {before}")
    if name in SIZES:
        raise _other(store, "the sizes of the candidates", "others")
    if name in MEASUREMENTS:
        raise _other(store, "the measurements of the weights", "others, as with another --max-bytes")


def _other(store: RunStore, what: str, received: str, which: str = "") -> KingyoError:
    expected = f"{what} that the choice began with{which}"
    return KingyoError(str(store.folder), expected=expected, received=received, remedy=ELSEWHERE)


def _require_same(run: Run, store: RunStore) -> None:
    """Check that a choice has the models, by the same paths, and the settings of the stored one."""
    config, (stored, _) = run.config, stored_config(store)
    if as_fact(config) == store.fact("config"):
        require_same_models(store, run.models)
        return
    if config.seed != stored.seed:
        raise _other(store, "the seed", f"{config.seed} instead of {stored.seed}")
    if config.sources.keys() != stored.sources.keys():
        names = f": {', '.join(stored.sources)}"
        raise _other(store, "the candidates", ", ".join(config.sources), names)
    now, before = ({"base": each.base or "", **each.sources} for each in (config, stored))
    moved = next((name for name, reference in now.items() if reference != before[name]), None)
    if moved is not None:
        raise _other(store, "the paths of candidates", f"{now[moved]} instead of {before[moved]}")
    raise _other(store, "the frame" if config.merge != stored.merge else "the task", "another one")
