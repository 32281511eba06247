"""Run one search: ask, evaluate and tell until a limit is reached."""

from __future__ import annotations

from collections.abc import Callable

from kingyo.evolution.asynchronous import run_asynchronously
from kingyo.evolution.generations import run_generations
from kingyo.evolution.ranking import Ranking
from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_evaluation import TrialEvaluator
from kingyo.evolution.types import Event, Search
from kingyo.evolution.warm_start import warm_start
from kingyo.store import RunStore


class SearchRun:
    """Runs a search, or the rest of it after earlier sessions.

    Args:
        search: the search.
        store: the run's database, open for writing.
        evaluator: evaluates trials.
        notify: called with every event.
    """

    def __init__(
        self, search: Search, store: RunStore, evaluator: TrialEvaluator, notify: Callable[[Event], None]
    ) -> None:
        self.search = search
        self._evaluator = evaluator
        self._log = SearchLog(search, store, evaluator.items["fit"], notify)
        self.ranking = Ranking(self._log)

    def run(self) -> None:
        """Search until a limit is reached, or the strategy has no more to propose."""
        self._log.begin()
        if self.search.prepare is not None:
            self.search.prepare(self._log.store)
        warm_start(self._log)
        if self.search.is_asynchronous:
            run_asynchronously(self._log, self._evaluator)
        else:
            run_generations(self._log, self._evaluator)
