"""Run a search without generations: each free worker gets a candidate, and outcomes are reported at once.

A slow candidate blocks no other worker. Which candidates are asked for depends on the order of finishing, so
another run with the same seed may differ. The store records the order of asks and outcomes, so a resumed
run replays exactly.
"""

from __future__ import annotations

from kingyo.evolution.replay import Replay, paused_garbage_collection
from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_evaluation import TrialEvaluation, TrialEvaluator
from kingyo.store import StoredTrial


def run_asynchronously(log: SearchLog, evaluator: TrialEvaluator) -> None:
    """Replay earlier sessions, then run trials until a limit is reached or the strategy is exhausted."""
    _AsynchronousLoop(log, evaluator).run()


class _AsynchronousLoop:
    def __init__(self, log: SearchLog, evaluator: TrialEvaluator) -> None:
        self._log, self._evaluator = log, evaluator
        self._open: set[int] = set()  # ids of trials without a reported outcome

    def run(self) -> None:
        for trial, items in self._replay().items():
            self._begin(trial, items)
        while True:
            while len(self._open) < self._evaluator.n_workers:
                trial = self._ask()
                if trial is None:
                    break
                self._open.add(trial.id)
                self._begin(trial, self._items(trial))
            if not self._open:
                return
            for result in self._evaluator.finish():
                self._end(result)

    def _replay(self) -> dict[StoredTrial, list[str]]:
        """Replay earlier sessions; return the trials without outcomes, and the items to score them on."""
        log = self._log
        with paused_garbage_collection():
            replay = Replay(log)
            trials = {trial.id: trial for trial in log.store.trials(log.search.name)}
        finished = [trials[trial] for trial in replay.outcomes]
        unfinished: dict[StoredTrial, list[str]] = {}
        n_reported = 0
        for trial in trials.values():
            for earlier in finished[n_reported : trial.told]:
                log.driver.tell(replay.read([earlier]))
            n_reported = trial.told
            log.driver.ask_again([trial])
            if trial.id not in replay.outcomes:
                unfinished[trial] = self._items(trial)
        for earlier in finished[n_reported:]:
            log.driver.tell(replay.read([earlier]))
        self._open = {trial.id for trial in unfinished}
        return unfinished

    def _ask(self) -> StoredTrial | None:
        """Ask for one trial; None if open trials may use up the budget, or the strategy is exhausted."""
        log, n_open = self._log, len(self._open)
        if log.room(n_open + 1) <= n_open:
            return None
        number = log.spent.trials + n_open
        trials = log.ask(number, 1, number)
        return trials[0] if trials else None

    def _items(self, trial: StoredTrial) -> list[str]:
        """Choose the items of a trial from the responses at the time of asking."""
        log, number = self._log, trial.asked.number
        order = log.screen.rounds(log.responses, [number], number).order
        return [log.items[column] for column in order]

    def _begin(self, trial: StoredTrial, items: list[str]) -> None:
        result = self._evaluator.begin(trial, "fit", items)
        if result is not None:
            self._end(result)

    def _end(self, result: TrialEvaluation) -> None:
        trial, log = result.trial, self._log
        self._open.remove(trial.id)
        log.report_evaluation(result)
        log.add_scores(trial, log.store.scores_of(trial.id, "fit"))
        log.tell([trial], {trial.asked.number: result.evaluation})
