"""Give the scores of the baselines to the screen and the strategy of a search, before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_recipes import new_trial
from kingyo.evolution.types import BASELINES
from kingyo.evolution.user_strategy import call_strategy
from kingyo.store import StoredTrial
from kingyo.types import Evaluation, Genome, InformedStrategy, Outcome, TaskAware, Trial


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
            points.append(_as_point(log, trial, -number, genome))
            evaluations[-number] = _evaluation(log, trial, row)
    if len(search.objectives.tasks) > 1 and isinstance(strategy, TaskAware):
        weights = search.objectives.tasks
        call_strategy(search, "learn_tasks", lambda: strategy.learn_tasks(log.scorer.task_of, weights))
    if points and isinstance(strategy, InformedStrategy):
        outcomes = _outcomes(log, points, evaluations)
        call_strategy(search, "warm_start", lambda: strategy.warm_start(outcomes))


def _as_point(log: SearchLog, baseline: StoredTrial, number: int, genome: Genome) -> StoredTrial:
    """Return a baseline as a trial of the search, with the recipe of its genome."""
    new = new_trial(Trial(number=number, genome=genome), log.search.space.decode(genome))
    return replace(baseline, asked=new.asked, recipe=new.recipe, recipe_hash=new.recipe_hash)


def _evaluation(log: SearchLog, trial: StoredTrial, row: Mapping[str, float]) -> Evaluation:
    """Return the scores of a baseline on fit, with its answers if a set measure needs them."""
    stored = log.store.evaluation(trial.id, "fit") if log.search.objectives.by_set else None
    return stored or Evaluation(scores=log.item_scores(row))


def _outcomes(
    log: SearchLog, points: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]
) -> list[Outcome]:
    scores = [evaluations[point.asked.number].scores for point in points]
    if log.search.objectives.is_plain:
        return [Outcome(trial=point.asked, scores=row) for point, row in zip(points, scores, strict=True)]
    stored = log.stored_outcomes(points, evaluations)
    return [log.outcome(*row) for row in zip(points, scores, stored, strict=True)]
