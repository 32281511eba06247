"""Find a trial by its name, and describe trials in words.

``12`` is a trial of the main search, ``random:12`` one of another search, and ``uniform`` (or
``baselines:uniform``) a baseline.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from kingyo.errors import KingyoError, suggest
from kingyo.evolution import BASELINES, MAIN
from kingyo.run.config import (
    FRANKENMERGE,
    RANDOM_SOURCES,
    TRAINED,
    TRAININGS,
    TUNED,
    TUNED_PARENT,
    WEIGHT_SEARCH,
    WEIGHT_SEARCH_LABEL,
)
from kingyo.store import RunStore, StoredTrial
from kingyo.types import SPLITS

TrialIndex = Mapping[str, Mapping[str, StoredTrial]]
"""Search -> number, or name of a baseline -> trial."""

_BASELINES = {"base": "the base", "uniform": "the uniform merge", FRANKENMERGE: "the frankenmerge"}
_TRAINED = {TRAINED: "trained LoRA", TUNED: "tuned model", TUNED_PARENT: "tuned parent"}
BRED = ("bred", "winner")
"""Names of the winner of the main search."""


def find_trial(store: RunStore, reference: str) -> StoredTrial:
    """Return the trial with the given name.

    Args:
        store: the run.
        reference: ``N`` (of the main search), ``SEARCH:N``, ``baselines:NAME``, the NAME of a baseline, or
            ``bred`` for the winner of the main search.

    Raises:
        KingyoError: there is no such trial.
    """
    name, known = reference.strip(), _trial_index(store)
    if name.casefold() in BRED and name not in known.get(BASELINES, {}):
        return _bred(store)
    search, colon, own = name.partition(":")
    if not colon:
        search, own = MAIN if _is_number(name) else BASELINES, name
    trial = known.get(search, {}).get(own)
    if trial is None:
        raise KingyoError(
            "--trial",
            expected=" or ".join(_ranges(known)) or "a run with trials",
            received=f"'{reference}'",
            remedy=_remedy(store, known, name),
        )
    return trial


def reference_to(trial: StoredTrial) -> str:
    """Return the name of a trial for ``find_trial``."""
    if trial.search == MAIN:
        return str(trial.asked.number)
    return f"{trial.search}:{trial.asked.number if trial.name is None else trial.name}"


def describe_trial(trial: StoredTrial) -> str:
    """Describe a trial: "the parent ja", "the uniform merge", "trial 12 of random search".

    For models that the run trained: "the trained LoRA (trained:2)".
    """
    if trial.name is not None:
        return _BASELINES.get(trial.name, f"the parent {trial.name}")
    if trial.search in TRAININGS:
        return f"{describe_search(trial.search)} ({reference_to(trial)})"
    return f"trial {trial.asked.number} of {describe_search(trial.search)}"


def describe_search(name: str) -> str:
    """Describe a search: "the main search", "random search", "weights alone", "the tuned model"."""
    if name == MAIN:
        return "the main search"
    if name in TRAININGS:
        return f"the {_TRAINED[name]}"
    if name == RANDOM_SOURCES:
        return "the search with random sources"
    return WEIGHT_SEARCH_LABEL if name == WEIGHT_SEARCH else f"{name} search"


def row_title(search: str) -> str:
    """Name the winner of a search in a table: "random, same cost", "weights alone", "trained LoRA"."""
    named = {WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, **_TRAINED, TUNED: TUNED}
    return named.get(search, f"{search.replace('_', ' ')}, same cost")


def failure_of(store: RunStore, trial: StoredTrial) -> str | None:
    """Return why a trial could not be scored on some split; None if it could, or was not tried."""
    evaluations = (store.evaluation(trial.id, split) for split in SPLITS)
    return next((each.failure for each in evaluations if each is not None and each.failure is not None), None)


def _trial_index(store: RunStore) -> TrialIndex:
    known: dict[str, dict[str, StoredTrial]] = {name: {} for name in store.searches()}
    for trial in store.trials():
        known[trial.search][str(trial.asked.number) if trial.name is None else trial.name] = trial
    return known


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _bred(store: RunStore) -> StoredTrial:
    winner = store.winner(MAIN)
    if winner is None:
        raise KingyoError(
            "--trial",
            expected="a run with a winner",
            received=f"'bred', but the run has no winner yet (status: {store.status()})",
            remedy=f"Continue with `kingyo resume {shlex.quote(str(store.folder))}`, or name a trial.",
        )
    return winner


def _remedy(store: RunStore, known: TrialIndex, name: str) -> str:
    search, colon, _ = name.partition(":")
    if colon and search not in known:
        return suggest(search, known)
    if not colon and not _is_number(name):
        return suggest(name, known.get(BASELINES, {}))
    return f"`kingyo show {shlex.quote(str(store.folder))}` shows the state of the run."


def _ranges(known: TrialIndex) -> Iterator[str]:
    last = {search: len(trials) - 1 for search, trials in known.items() if trials and search != BASELINES}
    if MAIN in last:
        yield f"a number from 0 to {last.pop(MAIN)}"
    for search, n in last.items():
        yield f"{search}:0 to {search}:{n}" if n else f"{search}:0"
    if known.get(BASELINES):
        yield f"one of {', '.join(known[BASELINES])}"
