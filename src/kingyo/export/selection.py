"""Selection of the model to export."""

from __future__ import annotations

import shlex

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.runs.config import TRAININGS
from kingyo.search.evolution import BASELINES, MAIN, read_front, stored_objectives
from kingyo.store import RunStore, StoredTrial
from kingyo.views.results.summary import summarize
from kingyo.views.results.trials import describe_search, find_trial

FLAGS = ("--trial", "--search", "--pick", "--best")


def choose(
    store: RunStore,
    *,
    trial: str | None = None,
    search: str | None = None,
    pick: str | None = None,
    best: bool = False,
) -> StoredTrial:
    """Return the trial to export: by default the best of the run, or the winner if there is none."""
    is_set = (trial is not None, search is not None, pick is not None, best)
    given = [flag for flag, is_given in zip(FLAGS, is_set, strict=True) if is_given]
    if len(given) > 1:
        raise KingyoError(given[0], f"one of {', '.join(FLAGS)}", " and ".join(given), "Use one of them.")
    if trial is not None:
        return find_trial(store, trial)
    store.require_no_scout()
    if search is not None:
        return _winner(store, search)
    if pick is not None:
        return _picked(store, pick)
    summary = summarize(store)
    if summary.best is not None:
        return summary.best.trial
    if best:
        names = stored_objectives(store).names
        raise KingyoError(
            "--best",
            "a run with one objective whose winners and baselines are validated",
            f"the objectives {', '.join(names)}" if names else f"a run that is {summary.status}",
            "Choose a model of the front with --pick knee, or --trial."
            if names
            else f"Continue with `{_resume(store)}`, or choose with --trial.",
        )
    return _winner(store, MAIN)


def _winner(store: RunStore, search: str) -> StoredTrial:
    searches = [name for name in store.searches() if name != BASELINES]
    if search not in (MAIN, *searches):
        raise unknown_name_error("--search", search, searches)
    winner = store.winner(search)
    if winner is None:
        is_over = store.status() == "finished"
        reason = "none of its trials could be scored" if is_over else "no winner yet"
        remedy = f"Continue with `{_resume(store)}`, or name a trial with --trial."
        expected = f"a run with a winner of {describe_search(search)}"
        received = f"a run that is {store.status()}: {reason}"
        raise KingyoError(
            str(store.folder), expected, received, "Name another search." if is_over else remedy
        )
    return _untrained(store, winner) if search in TRAININGS else winner


def _untrained(store: RunStore, winner: StoredTrial) -> StoredTrial:
    """Return the bred model or parent that the winner of a training is, or else the winner."""
    others = (trial for name in (MAIN, BASELINES) for trial in store.trials(name))
    return next((each for each in others if each.recipe_hash == winner.recipe_hash), winner)


def _picked(store: RunStore, pick: str) -> StoredTrial:
    front = read_front(store, MAIN)
    trials = {str(point.trial.asked.number): point.trial for point in front.points}
    if front.knee is not None and pick == "knee":
        return front.knee.trial
    if pick not in trials:
        expected = f"knee, or one of the trials {', '.join(trials)}" if trials else "a run with a front"
        remedy = f"`kingyo show {shlex.quote(str(store.folder))}` prints the front."
        raise KingyoError("--pick", expected, repr(pick), remedy)
    return trials[pick]


def _resume(store: RunStore) -> str:
    return f"kingyo resume {shlex.quote(str(store.folder))}"
