"""Run one search: replay earlier sessions, then ask, evaluate and tell until a limit is reached.

The stored log of asks and tells is the whole state of a search: to resume, both are repeated with a new
strategy, which must ask for the stored trials. Without generations each free worker gets a candidate, and
outcomes are reported at once; the store records the order of asks and outcomes, so this replays exactly, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.core.types import Evaluation
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.store import StoredTrial


def run_search(log: SearchLog, evaluator: TrialEvaluator) -> None:
    log.begin()
    if log.search.prepare is not None:
        log.search.prepare(log.store, log.notify)
    log.warm_start()
    if log.search.is_asynchronous:
        _AsynchronousLoop(log, evaluator).run()
    else:
        _run_generations(log, evaluator)


def _run_generations(log: SearchLog, evaluator: TrialEvaluator) -> None:
    generations: dict[int, list[StoredTrial]] = {}
    for trial in log.store.trials(log.search.name):
        generations.setdefault(trial.batch, []).append(trial)
    for trials in generations.values():
        log.ask_again(trials)
        if all(trial.id in log.stored for trial in trials):
            log.tell_again(trials)
        else:
            log.tell(trials, _evaluate_generation(log, evaluator, trials))
    batch = len(generations)
    while trials := log.ask(batch, log.room(log.batch), log.spent.trials):
        log.tell(trials, _evaluate_generation(log, evaluator, trials))
        batch += 1


def _evaluate_generation(
    log: SearchLog, evaluator: TrialEvaluator, trials: Sequence[StoredTrial]
) -> dict[int, Evaluation]:
    items = log.items_of(trials[0].batch)
    evaluations: dict[int, Evaluation] = {}
    for trial, evaluation in evaluator.evaluate_all(trials, "fit", items):
        log.report_evaluation(trial, evaluation)
        evaluations[trial.asked.number] = evaluation
    for trial in trials:  # in the order of asking, not of finishing
        log.add_scores(trial, _row(log, trial, evaluations[trial.asked.number]))
    return evaluations


def _row(log: SearchLog, trial: StoredTrial, evaluation: Evaluation) -> Mapping[str, float]:
    return evaluation.items if evaluation.failure is None else log.store.scores_of(trial.id, "fit")


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
                self._begin(trial, self._log.items_of(trial.asked.number))
            if not self._open:
                return
            for ended, evaluation in self._evaluator.finish():
                self._end(ended, evaluation)

    def _replay(self) -> dict[StoredTrial, list[str]]:
        """Replay earlier sessions; return the trials without outcomes, and the items to score them on."""
        log = self._log
        trials = {trial.id: trial for trial in log.store.trials(log.search.name)}
        finished = [trials[trial] for trial in log.stored]
        unfinished: dict[StoredTrial, list[str]] = {}
        n_told = 0
        for trial in trials.values():
            for earlier in finished[n_told : trial.told]:
                log.tell_again([earlier])
            n_told = trial.told
            log.ask_again([trial])
            if trial.id not in log.stored:
                unfinished[trial] = log.items_of(trial.asked.number)
        for earlier in finished[n_told:]:
            log.tell_again([earlier])
        self._open = {trial.id for trial in unfinished}
        return unfinished

    def _ask(self) -> StoredTrial | None:
        log, n_open = self._log, len(self._open)
        if log.room(n_open + 1) <= n_open:
            return None
        number = log.spent.trials + n_open
        return next(iter(log.ask(number, 1, number)), None)

    def _begin(self, trial: StoredTrial, items: list[str]) -> None:
        evaluation = self._evaluator.begin(trial, "fit", items)
        if evaluation is not None:
            self._end(trial, evaluation)

    def _end(self, trial: StoredTrial, evaluation: Evaluation) -> None:
        log = self._log
        self._open.remove(trial.id)
        log.report_evaluation(trial, evaluation)
        log.add_scores(trial, _row(log, trial, evaluation))
        log.tell([trial], {trial.asked.number: evaluation})
