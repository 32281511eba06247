"""Which model of a run is exported: the best of the run, or the one that the user names."""

from __future__ import annotations

import shlex

from kingyo.errors import KingyoError, suggest
from kingyo.evolution import BASELINES, MAIN, read_front
from kingyo.results.summary import RunSummary, summarize
from kingyo.results.trials import describe_search, find_trial, reference_to
from kingyo.run.extensions import read_extensions
from kingyo.run.later_controls import control_command, missing_controls
from kingyo.store import RunStore, StoredTrial

FLAGS = ("--trial", "--search", "--pick", "--best")


def choose(
    store: RunStore,
    *,
    trial: str | None = None,
    search: str | None = None,
    pick: str | None = None,
    best: bool = False,
) -> StoredTrial:
    """Return the trial to export; without a wish the best of the run, or the winner where there is none.

    Args:
        store: the run.
        trial: a reference, see ``find_trial``.
        search: the winner of this search.
        pick: ``knee``, or the number of a trial on the front of a run with several objectives.
        best: the best of the run.

    Raises:
        KingyoError: two wishes, or there is no such model, or not yet.
    """
    wishes = (trial is not None, search is not None, pick is not None, best)
    given = [flag for flag, is_given in zip(FLAGS, wishes, strict=True) if is_given]
    if len(given) > 1:
        raise KingyoError(
            given[0],
            expected=f"one of {', '.join(FLAGS)}",
            received=" and ".join(given),
            remedy="Keep the one that you mean.",
        )
    if trial is not None:
        return find_trial(store, trial)
    if search is not None:
        return _winner(store, search)
    if pick is not None:
        return _picked(store, pick)
    summary = summarize(store)
    if summary.best is not None:
        return summary.best.trial
    if best:
        raise _no_best(summary)
    return _winner(store, MAIN)


def _no_best(summary: RunSummary) -> KingyoError:
    if summary.objectives:
        return KingyoError(
            "--best",
            expected="a run with one objective",
            received=f"one with {len(summary.objectives)}, where no model is the best",
            remedy="Take a point of the front: --pick knee, or --pick N.",
        )
    return KingyoError(
        "--best",
        expected="a run whose winners and baselines have met validation",
        received=f"one that is {summary.status}, before that",
        remedy=f"Go on with `{_resume(summary.folder)}`, or name a trial with --trial.",
    )


def _winner(store: RunStore, search: str) -> StoredTrial:
    """Return the winner of a search."""
    searches = [name for name in store.searches() if name != BASELINES]
    if search in missing_controls(store):
        raise KingyoError(
            "--search",
            expected=f"one of {', '.join(searches)}",
            received=f"'{search}', which was not run",
            remedy=f"Run it: {control_command(str(store.folder), search)}",
        )
    if search not in (MAIN, *searches):
        raise KingyoError(
            "--search",
            expected=f"one of {', '.join(searches) or MAIN}",
            received=f"'{search}'",
            remedy=f"Say --trial {BASELINES}:NAME." if search == BASELINES else suggest(search, searches),
        )
    winner = store.winner(search)
    if winner is None:
        is_over = store.status() == "finished"
        received = "none of its trials could be scored" if is_over else "no winner yet"
        other = _won_before(store, search) or "name a trial with --trial"
        remedy = f"Go on with `{_resume(str(store.folder))}`, or {other}."
        raise KingyoError(
            str(store.folder),
            expected=f"a run whose winner of {describe_search(search)} is picked",
            received=f"one that is {store.status()}: {received}",
            remedy="Name another search." if is_over else remedy,
        )
    return winner


def _won_before(store: RunStore, search: str) -> str | None:
    """Say how to export the winner that the last extension of a run has put aside; None without one."""
    for each in reversed(read_extensions(store)):
        if search in each.winners:
            trial = store.trial(each.winners[search])
            return f"say --trial {reference_to(trial)} for the winner before {each} were added"
    return None


def _picked(store: RunStore, pick: str) -> StoredTrial:
    front = read_front(store, MAIN)
    trials = {str(point.trial.asked.number): point.trial for point in front.points}
    remedy = f"`kingyo show {shlex.quote(str(store.folder))}` prints the front."
    if front.knee is None:
        remedy = "Leave --pick out to export the winner, or name a trial with --trial."
        received = "one without: it has one objective, or no trial that succeeded"
        raise KingyoError("--pick", expected="a run with a front", received=received, remedy=remedy)
    if pick == "knee":
        return front.knee.trial
    if pick not in trials:
        expected = f"knee, or one of the trials {', '.join(trials)}"
        raise KingyoError("--pick", expected=expected, received=repr(pick), remedy=remedy)
    return trials[pick]


def _resume(folder: str) -> str:
    return f"kingyo resume {shlex.quote(folder)}"
