"""Selection of the model to export."""

from __future__ import annotations

import shlex

from kingyo.errors import KingyoError, suggest
from kingyo.evolution import BASELINES, MAIN, read_front
from kingyo.results.summarize import summarize
from kingyo.results.summary import RunSummary
from kingyo.results.trials import describe_search, find_trial, reference_to
from kingyo.run.extensions import control_command, missing_controls, read_extensions
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
    """Return the trial to export: by default the best of the run, or the winner if there is none.

    Args:
        store: the run.
        trial: a reference, see ``find_trial``.
        search: name of a search whose winner is exported.
        pick: ``knee``, or the number of a trial on the front of a run with several objectives.
        best: whether to require the best of the run.

    Raises:
        KingyoError: two selections, or a model that does not exist or not yet.
    """
    is_set = (trial is not None, search is not None, pick is not None, best)
    given = [flag for flag, is_given in zip(FLAGS, is_set, strict=True) if is_given]
    if len(given) > 1:
        raise KingyoError(
            given[0],
            expected=f"one of {', '.join(FLAGS)}",
            received=" and ".join(given),
            remedy="Use one of them.",
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
            received=f"a run with {len(summary.objectives)} objectives",
            remedy="Choose a point of the front: --pick knee, or --pick N.",
        )
    return KingyoError(
        "--best",
        expected="a run whose winners and baselines are validated",
        received=f"a run that is {summary.status}, without validation",
        remedy=f"Continue with `{_resume(summary.folder)}`, or name a trial with --trial.",
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
            remedy=f"Use --trial {BASELINES}:NAME." if search == BASELINES else suggest(search, searches),
        )
    winner = store.winner(search)
    if winner is None:
        is_over = store.status() == "finished"
        reason = "none of its trials could be scored" if is_over else "no winner yet"
        other = _won_before(store, search) or "name a trial with --trial"
        remedy = f"Continue with `{_resume(str(store.folder))}`, or {other}."
        raise KingyoError(
            str(store.folder),
            expected=f"a run with a winner of {describe_search(search)}",
            received=f"a run that is {store.status()}: {reason}",
            remedy="Name another search." if is_over else remedy,
        )
    return winner


def _won_before(store: RunStore, search: str) -> str | None:
    """Return how to export the winner before the last extension of a run; None if there was none."""
    for extension in reversed(read_extensions(store)):
        if search in extension.winners:
            trial = store.trial(extension.winners[search])
            return f"use --trial {reference_to(trial)} for the winner before {extension} were added"
    return None


def _picked(store: RunStore, pick: str) -> StoredTrial:
    front = read_front(store, MAIN)
    trials = {str(point.trial.asked.number): point.trial for point in front.points}
    remedy = f"`kingyo show {shlex.quote(str(store.folder))}` prints the front."
    if front.knee is None:
        remedy = "Leave --pick out to export the winner, or name a trial with --trial."
        received = "a run with one objective, or without a successful trial"
        raise KingyoError("--pick", expected="a run with a front", received=received, remedy=remedy)
    if pick == "knee":
        return front.knee.trial
    if pick not in trials:
        expected = f"knee, or one of the trials {', '.join(trials)}"
        raise KingyoError("--pick", expected=expected, received=repr(pick), remedy=remedy)
    return trials[pick]


def _resume(folder: str) -> str:
    return f"kingyo resume {shlex.quote(folder)}"
