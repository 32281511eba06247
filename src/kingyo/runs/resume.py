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
from kingyo.runs.config import TRAINED, TuneConfig
from kingyo.runs.extensions import CONTROLS_ASKED, TUNE, Amounts, extend, with_extensions
from kingyo.runs.learning import taught
from kingyo.runs.preflight import check_paths
from kingyo.runs.provenance import (
    Renewal,
    accept_changes,
    libraries_of,
    require_same,
    require_same_or_store,
    score_again,
)
from kingyo.runs.run import Run
from kingyo.runs.searches import CONTROLS, require_control
from kingyo.runs.seed_runs import scores_of_other_seed
from kingyo.runs.settings import demands_learning
from kingyo.runs.tune import require_lessons, require_tunable
from kingyo.runs.worker import runner_of, shared_merger
from kingyo.search.evolution import RACED, Event, Journey, Search, Stage
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


def rescore(store: RunStore) -> Renewal:
    """Reset a run to its beginning, and keep its scores in another file; nothing is run yet."""
    run = _openable(store)
    return score_again(store, libraries_of(run), before_choice(run, store))


def accept(store: RunStore) -> Renewal | None:
    run = _openable(store)
    return accept_changes(store, libraries_of(run))


def _openable(store: RunStore) -> Run:
    run = Run.stored(store)
    _ = run.task
    if run.settings.paths is not None:
        check_paths(run)
    return run


def add_budget(store: RunStore, more: Amounts) -> None:
    """Add to the budget of a run; nothing is run yet."""
    require_same(store)
    extend(store, Run.stored(store).settings, more)


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
            raise KingyoError("--keep", expected, received, remedy)
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
