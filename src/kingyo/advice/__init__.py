"""Warnings and notes about a run, as data: what was found, why it matters, and what to do.

The store is read and nothing is printed: show, the end of evolve, the live display and the report print what
is found. A run is judged by fit, and by the finalists' validation scores; never by test.
"""

from __future__ import annotations

from collections.abc import Iterator

from kingyo.advice.bounds import winners_at_bounds
from kingyo.advice.course import search_progress
from kingyo.advice.cut import truncated_answers
from kingyo.advice.flat import uninformative_scores
from kingyo.advice.message import Advice, folder_of
from kingyo.advice.seeds import seed_variation
from kingyo.results.summary import RunSummary
from kingyo.store import RunStore

__all__ = ["Advice", "advise", "lost_writes", "uninformative_scores"]


def advise(store: RunStore, summary: RunSummary) -> tuple[Advice, ...]:
    """Return what to know of a run, finished or not; warnings first.

    Args:
        store: the run.
        summary: of the same run.
    """
    flat = list(uninformative_scores(store))
    found = [*lost_writes(store), *flat, *winners_at_bounds(store, summary)]
    if not flat:
        found += search_progress(store, summary)
    found += truncated_answers(store, summary)
    found += seed_variation(store, summary)
    return tuple(sorted(found, key=lambda each: each.level == "note"))


def lost_writes(store: RunStore) -> Iterator[Advice]:
    """Warn if what was stored could not be found when the run was opened."""
    if store.lost is not None:
        yield Advice(
            kind="lost",
            level="warning",
            what=store.lost,
            why="What it held is lost, and nothing of it is shown.",
            remedy=f"`kingyo resume {folder_of(store)}` makes it again.",
        )
