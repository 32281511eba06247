"""Continue, extend or rescore a run that has begun."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from kingyo.core.io.schema import parse_model
from kingyo.errors import KingyoError
from kingyo.runs.begin import before_choice
from kingyo.runs.choice import is_choosing
from kingyo.runs.config import TRAINED, TuneConfig
from kingyo.runs.extensions import CONTROLS_ASKED, TUNE, Amounts, extend, with_extensions
from kingyo.runs.learning import taught
from kingyo.runs.preflight import check_paths
from kingyo.runs.provenance import accept_changes as accept
from kingyo.runs.provenance import (
    libraries_of,
    require_same,
    require_same_or_store,
    score_again,
)
from kingyo.runs.run import Run
from kingyo.runs.searches import CONTROLS, require_control
from kingyo.runs.seed_runs import scores_of_other_seed
from kingyo.runs.settings import demands_learning, settings_of
from kingyo.runs.setup import stored_config
from kingyo.runs.tune import require_lessons, require_tunable
from kingyo.runs.worker import runner_of, shared_merger
from kingyo.search.evolution import RACED, Event, Journey, Limits, Search, Stage
from kingyo.store import RunStore
from kingyo.tasks import require_teaching, set_measures_of


def require_same_code(run: Run) -> None:
    require_same_or_store(run.begun, libraries_of(run))


def journey_of(run: Run, notify: Callable[[Event], None]) -> Journey:
    store = run.begun
    require_same_code(run)
    measures, runner = set_measures_of(run.task), runner_of(run)
    merger = cache(lambda: shared_merger(run, runner))

    def ready(searches: Sequence[Search]) -> list[Search]:
        measured = [
            replace(each, objectives=each.objectives.with_set_measures(measures))
            for each in with_extensions(searches, store)
        ]
        if not run.learns:
            return measured
        n_fit, is_demanded = len(run.items["fit"]), demands_learning(run.config)
        return [taught(each, run.task, merger, n_fit, is_demanded=is_demanded) for each in measured]

    def prepared(stage: Stage) -> Stage:
        return lambda winners: ready(stage(winners))

    return Journey(
        store=store,
        runner=runner,
        baselines=run.baselines,
        stages=[prepared(stage) for stage in run.stages],
        finalists=run.config.finalists,
        reuse=run.config.search.reuse,
        known=scores_of_other_seed(store),
        set_measures=measures,
        notify=notify,
    )


def is_complete(store: RunStore) -> bool:
    """Return whether nothing of a run is left to do.

    Older versions did not race the baselines, and a run that lost writes may lack any of its parts.
    """
    return store.status() == "finished" and bool(store.fact(RACED)) and store.lost is None


def renew(
    store: RunStore, more: Amounts, say: Callable[[str], None], *, rescore: bool, accept_changes: bool
) -> bool:
    """Let a run go on with the current code and versions, and add to its budget; nothing is run yet."""
    if rescore and accept_changes:
        remedy = "Leave accept_changes out: after rescore no scores of other versions are left."
        raise KingyoError("rescore", "one of rescore and accept_changes", "both", remedy)
    added = parse_model(Limits, more, "more").model_dump(exclude_none=True)
    if added:
        _require_limited(store, added)
    if rescore or accept_changes:
        run = Run.stored(store)
        _ = run.task
        if run.settings.paths is not None:
            check_paths(run)
        libraries, nothing = libraries_of(run), "Nothing has changed since the scores of this run were made."
        again = score_again(store, libraries, before_choice(run, store)) if rescore else None
        say(f"Note: {again or accept(store, libraries) or nothing}")
    else:
        require_same(store)
    if added:
        extend(store, added)
    return True


def _require_limited(store: RunStore, more: Amounts) -> None:
    """Refuse more of a budget that a run does not have, or does not have yet."""
    folder = shlex.quote(str(store.folder))
    if is_choosing(store):
        expected, received = "nothing, until the run has chosen its sources", ", ".join(more)
        remedy = f"Let it choose first, with `kingyo resume {folder}`; then add to its budget."
        raise KingyoError(f"more: {next(iter(more))}", expected, received, remedy)
    settings = settings_of(stored_config(store)[0])
    keys = list((settings.then or settings.first).budget.model_dump(exclude_none=True))
    if unknown := [key for key in more if key not in keys]:
        expected = f"more of the run's own budget, which limits {' and '.join(keys).replace('_', ' ')}"
        received = f"{unknown[0].replace('_', ' ')}, which it does not limit"
        remedy = f"Add {' or '.join(keys)}. `kingyo show {folder}` shows the run."
        raise KingyoError(f"more: {unknown[0]}", expected, received, remedy)


def add_control(store: RunStore, name: str) -> bool:
    """Add a control to a finished run; nothing is run yet. Return False if the control is already done."""
    asked = store.fact(CONTROLS_ASKED)
    if name in asked or (name in store.searches() and name in CONTROLS):
        return store.status() != "finished"
    require_same(store)
    run = Run.stored(store)
    require_control(name, run)
    if name == TRAINED:
        require_teaching(run.task)
    _require_finished(store, "a control costs as much as its search")
    store.reopen({CONTROLS_ASKED: (*asked, name), "status": "running"}, {})
    return True


def add_tuning(store: RunStore, keep: Path | None = None, limit: float | None = None) -> bool:
    """Add tuning to a finished run; nothing is run yet. Return False if the run is already tuned.

    Settings that are None are those that it has, or the default.
    """
    require_same(store)
    run = Run.stored(store)
    place = None if keep is None else os.path.relpath(keep.resolve(), run.folder.resolve())
    named = {key: value for key, value in {"keep": place, "limit": limit}.items() if value is not None}
    wanted = parse_model(TuneConfig, named, "tune") if named else None
    known = run.config.tune
    if known is not None:
        if wanted not in (None, known):
            kept = "no items to keep" if known.keep is None else f"{known.keep}, limit {known.limit:g}"
            expected = f"nothing else than when the tuning of {store.folder} began: {kept}"
            received = f"{wanted.keep}, limit {wanted.limit:g}" if wanted else "nothing"
            remedy = "Leave it out: a run is tuned once. `kingyo evaluate` scores an exported model."
            raise KingyoError("keep", expected, received, remedy)
        return store.status() != "finished"
    asked = replace(run, config=run.config.model_copy(update={"tune": wanted or TuneConfig()}))
    require_tunable(asked)
    _require_finished(store, "tuning starts from its winner")
    require_lessons(asked)
    store.reopen({TUNE: wanted or TuneConfig(), "status": "running"}, {})
    return True


def _require_finished(store: RunStore, reason: str) -> None:
    if store.status() != "finished":
        remedy = f"Finish it first with `kingyo resume {shlex.quote(str(store.folder))}`."
        raise KingyoError(str(store.folder), f"a finished run, because {reason}", "an unfinished run", remedy)
