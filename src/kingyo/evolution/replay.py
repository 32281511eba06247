"""Replay the log of earlier sessions of a search."""

from __future__ import annotations

import gc
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_evaluation import TrialEvaluation
from kingyo.store import StoredTrial
from kingyo.types import Evaluation, ItemScore, Outcome


@contextmanager
def paused_garbage_collection() -> Generator[None]:
    """Pause garbage collection while a log is read: it creates millions of objects, and no garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Replay:
    """Replays outcomes of earlier sessions into a search log.

    Args:
        log: log of the search; the replay adds scores and costs to it, and reports trials as replayed.
    """

    def __init__(self, log: SearchLog) -> None:
        self._log = log
        name = log.search.name
        self.outcomes = {outcome.trial: outcome for outcome in log.store.outcomes(name)}
        self._scores = log.store.scores(name, "fit") if self.outcomes else {}
        self._costs = log.store.costs(name, "fit") if self.outcomes else {}

    def read(self, trials: Sequence[StoredTrial]) -> list[Outcome]:
        """Return the outcomes that the strategy was told together, and add them to the log's counts."""
        outcomes = [self._read(trial) for trial in trials]
        self._log.spent.add([self._costs.get(trial.id, (0, 0.0)) for trial in trials])
        self._log.report(outcomes)
        return outcomes

    def _read(self, trial: StoredTrial) -> Outcome:
        log, stored, row = self._log, self.outcomes[trial.id], self._scores.get(trial.id, {})
        log.add_scores(trial, row)
        scores: tuple[ItemScore, ...] = () if stored.failure is not None else log.item_scores(row)
        evaluation = Evaluation(scores=scores, failure=stored.failure)
        log.report_evaluation(TrialEvaluation(trial=trial, evaluation=evaluation, replayed=True))
        return log.outcome(trial, scores, stored)
