"""What commands do with a run that has begun: go on with it, add to it, score it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from kingyo.errors import KingyoError
from kingyo.evolution import Event, Journey, Search
from kingyo.recipe import Recipe
from kingyo.run.config import TRAINED
from kingyo.run.extend import extend
from kingyo.run.extensions import Amounts, with_extensions
from kingyo.run.later_controls import asked_controls
from kingyo.run.preflight import check_paths
from kingyo.run.provenance import require_same, require_same_or_store
from kingyo.run.renewals import Renewal, accept_changes, score_again
from kingyo.run.run import Run
from kingyo.run.scoring_code import libraries_of
from kingyo.run.searches import CONTROLS, require_control
from kingyo.run.seed_runs import scores_of_other_seed
from kingyo.run.stored_config import stored_config
from kingyo.run.worker import runner_of
from kingyo.store import RunStore
from kingyo.tasks import require_teaching, set_measures_of


def journey_of(run: Run, notify: Callable[[Event], None]) -> Journey:
    """Build the journey of a run that has begun.

    Args:
        run: new, or half-way.
        notify: is told what happens.

    Raises:
        KingyoError: code or versions are no longer those that its scores were made with.
    """
    store = run.begun
    require_same_or_store(store, run.config, run.folder, libraries_of(run))

    measures = set_measures_of(run.task)

    def ready(searches: Sequence[Search]) -> list[Search]:
        return [
            replace(each, objectives=each.objectives.bound(measures))
            for each in with_extensions(searches, store)
        ]

    def then(merge: Recipe) -> list[Search]:
        return ready(run.searches_after(merge))

    return Journey(
        store=store,
        runner=runner_of(run),
        baselines=run.baselines,
        searches=ready(run.searches),
        then=None if run.settings.then is None else then,
        finalists=run.config.finalists,
        reuse=run.config.search.reuse,
        known=scores_of_other_seed(store),
        set_measures=measures,
        notify=notify,
    )


def rescore(store: RunStore) -> Renewal:
    """Reset a run to its beginning and keep its earlier scores in a file beside it; nothing is run yet.

    Args:
        store: the run, open for writing.

    Raises:
        KingyoError: a model is another one now, the task cannot be opened, or its paths cannot be exported;
            nothing is changed then.
    """
    run = _openable(store)
    return score_again(store, run.config, run.folder, libraries_of(run))


def require_unchanged(store: RunStore) -> None:
    """Check that a run's scores were made with today's code and versions; see ``require_same``."""
    require_same(store, *stored_config(store))


def accept(store: RunStore) -> Renewal | None:
    """Let a run go on with other code or versions than it has scores of; see ``accept_changes``.

    Raises:
        KingyoError: a model is another one now, the task cannot be opened, or its paths cannot be exported;
            nothing is changed then.
    """
    run = _openable(store)
    return accept_changes(store, run.config, run.folder, libraries_of(run))


def _openable(store: RunStore) -> Run:
    """Open a stored run, with its task and, where it searches paths, their check."""
    run = Run.stored(store)
    _ = run.task
    if run.settings.paths is not None:
        check_paths(run)
    return run


def add_budget(store: RunStore, more: Amounts) -> None:
    """Add to the budget of a run whose models and code are as it began; nothing is run yet.

    Args:
        store: the run, open for writing.
        more: key of the budget -> what to add.

    Raises:
        KingyoError: models or code have changed, the run has no such budget, or it would buy no candidate;
            nothing is changed then.
    """
    require_unchanged(store)
    extend(store, Run.stored(store).settings, more)


def add_control(store: RunStore, name: str) -> bool:
    """Let a finished run have a control that it was begun without; nothing is run yet.

    Args:
        store: the run, open for writing.
        name: of the control.

    Returns:
        Whether there is something to run: False where the control is done.

    Raises:
        KingyoError: there is no such control, this run cannot have it, or is not finished.
    """
    is_finished = store.status() == "finished"
    if name in asked_controls(store) or (name in store.searches() and name in CONTROLS):
        return not is_finished
    require_unchanged(store)
    run = Run.stored(store)
    require_control(name, run)
    if name == TRAINED:
        require_teaching(run.task)
    if not is_finished:
        raise KingyoError(
            str(store.folder),
            expected="a finished run: a control costs what its search did",
            received="one that is not at its end",
            remedy=f"Go on with it first: kingyo resume {shlex.quote(str(store.folder))}",
        )
    store.reopen({"controls": [*asked_controls(store), name], "status": "running"}, {})
    return True
