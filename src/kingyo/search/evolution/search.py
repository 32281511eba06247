"""Run one search: replay earlier sessions, then ask, evaluate and tell until a limit is reached.

Without generations each free worker gets a candidate, and outcomes are reported at once, so a slow candidate
blocks no other worker. Which candidates are asked for then depends on the order of finishing. The store
records the order of asks and outcomes, so a resumed run replays exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.core.types import Evaluation, InformedStrategy, ItemScore, Outcome, TaskAware, Trial
from kingyo.search.evolution.search_log import SearchLog, call_strategy
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.search.evolution.types import BASELINES
from kingyo.search.strategies.base import check_strategy
from kingyo.store import StoredTrial


def run_search(log: SearchLog, evaluator: TrialEvaluator) -> None:
    log.begin()
    if log.search.prepare is not None:
        log.search.prepare(log.store, log.notify)
    warm_start(log)
    if log.search.is_asynchronous:
        _AsynchronousLoop(log, evaluator).run()
    else:
        _run_generations(log, evaluator)


def warm_start(log: SearchLog) -> None:
    """Add the baselines' scores to the log, and pass those that are points of the space to the strategy.

    They get the numbers -1, -2, ….
    """
    search, strategy = log.search, log.search.strategy
    scores = log.store.scores(BASELINES, "fit")
    points: list[StoredTrial] = []
    evaluations: dict[int, Evaluation] = {}
    for number, trial in enumerate(log.store.trials(BASELINES), 1):
        row = scores.get(trial.id, {})
        genome = search.known.get(str(trial.name))
        if row:
            log.responses.add(-number, row)
        if row and genome is not None:
            new = new_trial(Trial(number=-number, genome=genome), search.space.decode(genome))
            points.append(replace(trial, asked=new.asked, recipe=new.recipe, recipe_hash=new.recipe_hash))
            with_answers = log.store.evaluation(trial.id, "fit") if search.objectives.need_answers else None
            evaluations[-number] = with_answers or Evaluation(scores=_item_scores(log, row))
    if len(search.objectives.tasks) > 1 and isinstance(strategy, TaskAware):
        weights = search.objectives.tasks
        call_strategy(search, "learn_tasks", lambda: strategy.learn_tasks(log.scorer.task_of, weights))
    if points and isinstance(strategy, InformedStrategy):
        if search.objectives.is_plain:
            outcomes = [
                Outcome(trial=each.asked, items=evaluations[each.asked.number].items) for each in points
            ]
        else:
            outcomes = log.outcomes(points, evaluations)
        call_strategy(search, "warm_start", lambda: strategy.warm_start(outcomes))


def _item_scores(log: SearchLog, row: Mapping[str, float]) -> tuple[ItemScore, ...]:
    return tuple([ItemScore(item, row[item], "") for item in log.items if item in row])


class _Replay:
    """Replays outcomes of earlier sessions into a search log, and reports their trials as replayed."""

    def __init__(self, log: SearchLog) -> None:
        self._log = log
        name = log.search.name
        self.outcomes = log.store.outcomes(name)
        self._scores = log.store.scores(name, "fit") if self.outcomes else {}

    def read(self, trials: Sequence[StoredTrial]) -> list[Outcome]:
        """Return the outcomes that the strategy was told together, and add them to the log's counts."""
        outcomes = [self._read(trial) for trial in trials]
        self._log.count_costs(trials)
        self._log.report(outcomes)
        return outcomes

    def _read(self, trial: StoredTrial) -> Outcome:
        log, stored, row = self._log, self.outcomes[trial.id], self._scores.get(trial.id, {})
        log.add_scores(trial, row)
        scores: tuple[ItemScore, ...] = () if stored.failure is not None else _item_scores(log, row)
        evaluation = Evaluation(scores=scores, failure=stored.failure, replayed=True)
        log.report_evaluation(trial, evaluation)
        return log.told(replace(stored, items=evaluation.items))


def _run_generations(log: SearchLog, evaluator: TrialEvaluator) -> None:
    batch, trials = _replay_generations(log)
    while trials := trials or _ask_generation(log, batch):
        log.tell(trials, _evaluate_generation(log, evaluator, trials))
        batch, trials = batch + 1, []


def _replay_generations(log: SearchLog) -> tuple[int, list[StoredTrial]]:
    replay = _Replay(log)
    generations: dict[int, list[StoredTrial]] = {}
    for trial in log.store.trials(log.search.name):
        generations.setdefault(trial.batch, []).append(trial)
    unfinished: list[StoredTrial] = []
    for trials in generations.values():
        is_finished = all(trial.id in replay.outcomes for trial in trials)
        outcomes = replay.read(trials) if is_finished else []
        log.driver.ask_again(trials)
        if is_finished:
            log.driver.tell(outcomes)
        else:
            unfinished = trials
    return len(generations) - bool(unfinished), unfinished


def _ask_generation(log: SearchLog, batch: int) -> list[StoredTrial]:
    """Ask for a generation; return nothing if the budget or the strategy is exhausted."""
    search = log.search

    def size() -> int:
        check_strategy(f"search '{search.name}'", search.strategy)
        return int(search.strategy.batch)

    n = log.room(call_strategy(search, "batch", size))
    return log.ask(batch, n, log.spent.trials) if n > 0 else []


def _evaluate_generation(
    log: SearchLog, evaluator: TrialEvaluator, trials: Sequence[StoredTrial]
) -> dict[int, Evaluation]:
    by_number = {trial.asked.number: trial for trial in trials}
    rounds = log.screen.rounds(log.responses, list(by_number), trials[0].batch)
    evaluations: dict[int, Evaluation] = {}
    failed: set[int] = set()
    while (step := rounds.next(log.responses, failed)) is not None:
        items = [log.items[column] for column in step.items]
        results: dict[int, Evaluation] = {}
        for trial, result in evaluator.evaluate_all([by_number[n] for n in step.trials], "fit", items):
            number = trial.asked.number
            log.report_evaluation(trial, result, again=number in evaluations)
            results[number] = result
        for number in step.trials:  # in the order of asking, not of finishing
            log.add_scores(by_number[number], _row(log, by_number[number], results[number]))
            evaluations[number] = results[number]
            if results[number].failure is not None:
                failed.add(number)
    return evaluations


def _row(log: SearchLog, trial: StoredTrial, evaluation: Evaluation) -> Mapping[str, float]:
    """Return the item scores of a trial; a failure has those from before it."""
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
                self._begin(trial, self._items(trial))
            if not self._open:
                return
            for ended, evaluation in self._evaluator.finish():
                self._end(ended, evaluation)

    def _replay(self) -> dict[StoredTrial, list[str]]:
        """Replay earlier sessions; return the trials without outcomes, and the items to score them on."""
        log, replay = self._log, _Replay(self._log)
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
        evaluation = self._evaluator.begin(trial, "fit", items)
        if evaluation is not None:
            self._end(trial, evaluation)

    def _end(self, trial: StoredTrial, evaluation: Evaluation) -> None:
        log = self._log
        self._open.remove(trial.id)
        log.report_evaluation(trial, evaluation)
        log.add_scores(trial, _row(log, trial, evaluation))
        log.tell([trial], {trial.asked.number: evaluation})
