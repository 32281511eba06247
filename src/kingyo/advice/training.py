"""Advise to train on the bred model, with the expected time, where a run leaves something to gain."""

from __future__ import annotations

from collections.abc import Iterator

from kingyo.advice.message import Advice, folder_of
from kingyo.evolution import MAIN
from kingyo.io.units import time_text
from kingyo.results.summary import RunSummary
from kingyo.run.adapters import read_training
from kingyo.run.config import TRAINED, TUNED
from kingyo.run.extensions import TUNABLE
from kingyo.run.tune import expected_seconds
from kingyo.store import RunStore

SOLVED = 0.98
"""A score on test that leaves nothing to gain."""


def training_on_bred(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Advise to tune a finished run; warn if training alone is clearly ahead of its bred model."""
    winner, is_tunable = summary.winner, bool(store.fact(TUNABLE))
    test = None if winner is None else winner.on("test")
    if summary.status != "finished" or not is_tunable or TUNED in store.searches() or test is None:
        return
    behind = any(each.other == TRAINED and each.difference.high < 0 for each in summary.comparisons)
    if not behind and (test.score >= SOLVED or not summary.winner_score):  # solved, or no answer is right
        return
    remedy = f"`kingyo tune {folder_of(store)}` trains a LoRA on the bred model{_duration(store, summary)}."
    if behind:
        what = "A LoRA trained on the same items is ahead of the bred model."
        yield Advice(kind="train", level="warning", what=what, why="Training is the bar here.", remedy=remedy)
    else:
        yield Advice(
            kind="train", level="note", what="Training may add to what breeding found.", remedy=remedy
        )


def _duration(store: RunStore, summary: RunSummary) -> str:
    """Return the time that tuning is expected to take, from that of the control, or of an answer."""
    costs = store.costs(MAIN, "fit").values()
    items, seconds = sum(n for n, _ in costs), sum(each for _, each in costs)
    if not items:
        return ""
    trained = read_training(store, TRAINED)
    known = None if trained is None else trained.step_seconds
    return f", in about {time_text(expected_seconds(summary.items['fit'], seconds / items, known))}"
