"""Run a search generation by generation."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.evolution.replay import Replay, paused_garbage_collection
from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_evaluation import TrialEvaluation, TrialEvaluator
from kingyo.evolution.user_strategy import call_strategy
from kingyo.store import StoredTrial
from kingyo.strategies.checks import check_strategy
from kingyo.types import Evaluation


def run_generations(log: SearchLog, evaluator: TrialEvaluator) -> None:
    """Replay earlier sessions, then run generations until a limit is reached or the strategy is exhausted."""
    batch, trials = _replay(log)
    while trials := trials or _ask(log, batch):
        log.tell(trials, _evaluate(log, evaluator, trials))
        batch, trials = batch + 1, []


def _replay(log: SearchLog) -> tuple[int, list[StoredTrial]]:
    """Replay earlier sessions; return the next generation's number, and its trials if it was begun."""
    with paused_garbage_collection():
        replay = Replay(log)
        generations = _by_batch(log.store.trials(log.search.name))
        outcomes = {
            batch: replay.read(trials)
            for batch, trials in generations.items()
            if all(trial.id in replay.outcomes for trial in trials)
        }
    unfinished: list[StoredTrial] = []
    for batch, trials in generations.items():
        log.driver.ask_again(trials)
        if batch in outcomes:
            log.driver.tell(outcomes[batch])
        else:
            unfinished = trials
    return len(generations) - bool(unfinished), unfinished


def _by_batch(trials: Sequence[StoredTrial]) -> dict[int, list[StoredTrial]]:
    batches: dict[int, list[StoredTrial]] = {}
    for trial in trials:
        batches.setdefault(trial.batch, []).append(trial)
    return batches


def _ask(log: SearchLog, batch: int) -> list[StoredTrial]:
    """Ask for a generation; return nothing if the budget or the strategy is exhausted."""
    search = log.search

    def size() -> int:
        check_strategy(f"search '{search.name}'", search.strategy)
        return int(search.strategy.batch)

    n = log.room(call_strategy(search, "batch", size))
    return log.ask(batch, n, log.spent.trials) if n > 0 else []


def _evaluate(
    log: SearchLog, evaluator: TrialEvaluator, trials: Sequence[StoredTrial]
) -> dict[int, Evaluation]:
    """Score a generation round by round; return the evaluation of each trial by its number."""
    by_number = {trial.asked.number: trial for trial in trials}
    rounds = log.screen.rounds(log.responses, list(by_number), trials[0].batch)
    evaluations: dict[int, Evaluation] = {}
    while (step := rounds.next(log.responses, _failed(evaluations))) is not None:
        items = [log.items[column] for column in step.items]
        results: dict[int, TrialEvaluation] = {}
        for result in evaluator.evaluate_all([by_number[n] for n in step.trials], "fit", items):
            number = result.trial.asked.number
            log.report_evaluation(result, again=number in evaluations)
            results[number] = result
        for number in step.trials:  # in the order of asking, not of finishing
            log.add_scores(by_number[number], log.store.scores_of(by_number[number].id, "fit"))
            evaluations[number] = results[number].evaluation
    return evaluations


def _failed(evaluations: dict[int, Evaluation]) -> set[int]:
    return {number for number, evaluation in evaluations.items() if evaluation.failure is not None}
