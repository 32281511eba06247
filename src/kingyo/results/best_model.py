"""The best model of a run, and the prediction of its winner's test score."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.evolution import MAIN, RACED, stored_objectives
from kingyo.evolution.set_measures import best_trial, read_verdict
from kingyo.results.model_result import ModelResult, scores_by_task
from kingyo.run.config import TRAINED
from kingyo.stats import Interval
from kingyo.stats.prediction import predict_weighted_winner
from kingyo.store import RunStore


def best_model(
    store: RunStore, winners: Sequence[ModelResult], baselines: Sequence[ModelResult]
) -> ModelResult | None:
    """Return the best model of a run, see ``best_trial``; if set measures count, the stored one.

    None until it is known.
    """
    models, objectives = (*winners, *baselines), stored_objectives(store)
    if objectives.by_set:
        verdict = read_verdict(store) if store.status() == "finished" else None
        return next((model for model in models if verdict and model.trial.id == verdict.best), None)
    n = len(store.items()["validation"])
    is_complete = all(each.validation is not None and each.validation.n == n for each in baselines)
    if not (store.fact(RACED) or is_complete):
        return None  # older versions do not race baselines
    trials, others = ([model.trial for model in own] for own in (winners, baselines))
    best = best_trial(store, objectives, trials, others, (TRAINED,))
    return next((model for model in models if model.trial == best), None)


def predicted_test(store: RunStore, winner: ModelResult) -> Interval | None:
    """Predict the winner's test score from the finalists that were scored on all of validation.

    With several tasks it is the weighted mean of one prediction per task, whose items are independent.
    """
    weights, splits = stored_objectives(store).tasks, store.items()
    items, n_validation = splits["test"], len(splits["validation"])
    n_test = {name: sum(len(weights) == 1 or item.task == name for item in items) for name in weights}
    trials = [row.trial for row in store.summaries("validation") if row.search == MAIN]
    evaluations = {trial: store.evaluation(trial, "validation") for trial in trials}
    complete = {
        trial: each for trial, each in evaluations.items() if each and len(each.scores) == n_validation
    }
    if winner.trial.id not in complete or not all(n_test.values()):
        return None
    rows = [scores_by_task(evaluation, weights) for evaluation in complete.values()]
    scores = [[row[name] for row in rows] for name in weights]
    place = list(complete).index(winner.trial.id)
    return predict_weighted_winner(scores, place, list(n_test.values()), list(weights.values()))
