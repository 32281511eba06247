"""Warnings and notes about a run as data: what was found, why it matters, and what to do.

They are based on fit scores and on the finalists' validation scores, never on test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from kingyo.advice.bounds import winners_at_bounds
from kingyo.advice.message import Advice, folder_of
from kingyo.advice.progress import search_progress, seed_variation, training_on_bred
from kingyo.advice.scores import truncated_answers, truncated_baselines, uninformative_scores
from kingyo.results.summary import RunSummary
from kingyo.run.learning import FAILURE
from kingyo.store import RunStore

__all__ = ["Advice", "advise", "lost_writes", "setup_warnings", "truncated_baselines", "uninformative_scores"]


def advise(store: RunStore, summary: RunSummary) -> tuple[Advice, ...]:
    """Return the advice on a run, finished or not; warnings first.

    Args:
        store: the run.
        summary: summary of the same run.
    """
    equal = list(uninformative_scores(store))
    advice = [*lost_writes(store), *setup_warnings(store), *equal, *winners_at_bounds(store, summary)]
    if not equal:
        advice += search_progress(store, summary)
    advice += truncated_answers(store, summary)
    advice += training_on_bred(store, summary)
    advice += seed_variation(store, summary)
    return tuple(sorted(advice, key=lambda each: each.level == "note"))


def setup_warnings(store: RunStore) -> Iterator[Advice]:
    """Repeat the warnings from before the run, such as a chat template that is not used."""
    for text in cast("list[str]", store.fact("warnings") or []):
        yield Advice(kind="setup", level="warning", what=f"{text}.")
    failure = store.fact(FAILURE)
    if failure is not None:
        what = f"Weights could not be learned: {str(failure).rstrip('.')}."
        why = "The search went on without, and learns no more weights if it is resumed."
        remedy = "Mend the cause and begin a new run, or write `learn: false`."
        yield Advice(kind="setup", level="warning", what=what, why=why, remedy=remedy)


def lost_writes(store: RunStore) -> Iterator[Advice]:
    """Warn if stored data could not be found when the run was opened."""
    if store.lost is not None:
        yield Advice(
            kind="lost",
            level="warning",
            what=store.lost,
            why="What it held is lost, and nothing of it is shown.",
            remedy=f"`kingyo resume {folder_of(store)}` makes it again.",
        )
