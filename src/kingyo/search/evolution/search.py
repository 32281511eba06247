"""Run one search: replay earlier sessions, then ask, evaluate and tell until a limit is reached.

The stored log of asks and tells is the whole state of a search: to resume, both are repeated with a new
strategy, which must ask for the stored trials.
"""

from collections.abc import Sequence
from itertools import groupby

from kingyo.core.types import Evaluation
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.store import StoredTrial


def run_search(log: SearchLog, evaluator: TrialEvaluator) -> None:
    log.begin()
    if log.search.prepare is not None:
        log.search.prepare(log.store, log.notify)
    log.warm_start()
    _Loop(log, evaluator).run()


class _Loop:
    """Asks for a batch once the last one is told; without generations for one trial per free worker.

    A batch gets its items when it is asked for, and is told when all of its trials have ended.
    """

    def __init__(self, log: SearchLog, evaluator: TrialEvaluator) -> None:
        self._log, self._evaluator = log, evaluator
        self._n_batches = 0
        self._open: dict[int, list[StoredTrial]] = {}  # batches that are not told
        self._ended: dict[int, Evaluation] = {}  # of their trials, by number

    def run(self) -> None:
        for trials, items in self._replay():
            self._begin(trials, items)
        while True:
            while trials := self._ask():
                self._begin(trials, self._log.items_of(trials[0].batch))
            if not self._open:
                return
            for ended, evaluation in self._evaluator.finish():
                self._end(ended, evaluation)

    def _replay(self) -> list[tuple[list[StoredTrial], list[str]]]:
        """Repeat the asks and tells of earlier sessions; return the open batches with their items."""
        log = self._log
        stored = {trial.id: trial for trial in log.store.trials(log.search.name)}
        finished = [stored[trial] for trial in log.stored]
        n_told, unfinished = 0, list[tuple[list[StoredTrial], list[str]]]()
        for batch, group in groupby(stored.values(), key=lambda trial: trial.batch):
            trials = list(group)
            self._tell_again(finished[n_told : trials[0].told])
            n_told = trials[0].told
            log.ask_again(trials)
            self._n_batches += 1
            if not all(trial.id in log.stored for trial in trials):
                self._open[batch] = trials
                unfinished.append((trials, log.items_of(batch)))
        self._tell_again(finished[n_told:])
        return unfinished

    def _tell_again(self, trials: Sequence[StoredTrial]) -> None:
        for _, group in groupby(trials, key=lambda trial: trial.batch):
            self._log.tell_again(list(group))

    def _ask(self) -> list[StoredTrial]:
        log, n_open = self._log, sum(map(len, self._open.values()))
        if log.search.is_asynchronous:
            is_free = n_open < self._evaluator.n_workers and log.room(n_open + 1) > n_open
            trials = log.ask(self._n_batches, 1, log.spent.trials + n_open) if is_free else []
        else:
            trials = [] if n_open else log.ask(self._n_batches, log.room(log.batch), log.spent.trials)
        self._n_batches += bool(trials)
        return trials

    def _begin(self, trials: list[StoredTrial], items: list[str]) -> None:
        self._open[trials[0].batch] = trials
        for trial in trials:
            evaluation = self._evaluator.begin(trial, "fit", items)
            if evaluation is not None:
                self._end(trial, evaluation)

    def _end(self, trial: StoredTrial, evaluation: Evaluation) -> None:
        log, trials = self._log, self._open[trial.batch]
        log.report_evaluation(trial, evaluation)
        self._ended[trial.asked.number] = evaluation
        if any(each.asked.number not in self._ended for each in trials):
            return
        del self._open[trial.batch]
        evaluations = {each.asked.number: self._ended.pop(each.asked.number) for each in trials}
        for each in trials:  # in the order of asking, not of finishing
            ended = evaluations[each.asked.number]
            has_failed = ended.failure is not None  # then it has the scores from before
            log.add_scores(each, log.store.scores_of(each.id, "fit") if has_failed else ended.items)
        log.tell(trials, evaluations)
