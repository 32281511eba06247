"""Read the summary of a run from its store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from kingyo.evolution import (
    BASELINES,
    MAIN,
    RACED,
    Front,
    read_finalists,
    read_front,
    stored_objectives,
)
from kingyo.evolution.best_of_run import BestOfRun, best_of_run
from kingyo.evolution.set_measures import read_verdict
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.results.comparisons import compare_on_test
from kingyo.results.estimates import estimate
from kingyo.results.layer_paths import read_run_layers
from kingyo.results.learning import read_learning, why_not_learned
from kingyo.results.model_result import ModelResult, groups_by_task, read_model_result, scores_by_task
from kingyo.results.summary import RunSummary
from kingyo.results.tuning import read_tuning
from kingyo.results.unit import unit_of
from kingyo.run.adapters import read_training
from kingyo.run.chosen import CHOSEN
from kingyo.run.config import TRAINED, TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH
from kingyo.run.extensions import (
    EXTENSIONS,
    control_command,
    missing_controls,
    note_on_test,
    readings_of_test,
)
from kingyo.run.provenance import renewals
from kingyo.stats import Groups, Interval
from kingyo.stats.prediction import SplitGroups, predict_weighted_winner
from kingyo.store import NOTES, EvaluationRow, RunStore
from kingyo.tasks import NearDuplicates


def summarize(store: RunStore) -> RunSummary:
    """Read the summary of a run, finished or not."""
    fits = [row for row in store.summaries("fit") if row.search in (WEIGHT_SEARCH, MAIN)]
    baselines = {
        str(trial.name): read_model_result(store, str(trial.name), trial) for trial in store.trials(BASELINES)
    }
    winners = _winners(store)
    winner, leader = winners.pop(MAIN, None), _leader(store, fits)
    controls = {name: each for name, each in winners.items() if not _is_untrained(name, each)}
    child, objectives = winner or leader, stored_objectives(store)
    others = [*baselines.values(), *controls.values()]
    comparisons = () if winner is None else compare_on_test(store, winner, others)
    choice = None if winner is None else _choice(store, [winner, *controls.values()], [*baselines.values()])
    predicted = None if winner is None or objectives.by_set else _predicted_test(store, winner)
    return RunSummary(
        run=str(store.fact("name")),
        folder=str(store.folder),
        status=store.status(),
        trials=len(fits),
        failures=sum(row.failure is not None for row in fits),
        item_evaluations=store.item_evaluations(),
        copied=store.copied_scores(),
        seconds=store.seconds(),
        items={split: len(items) for split, items in store.items().items()},
        leader=_estimated(store, leader) if winner is None and leader else leader,
        winner=winner and _estimated(store, winner),
        baselines={name: _estimated(store, each) for name, each in baselines.items()},
        controls={name: _estimated(store, each) for name, each in controls.items()},
        comparisons=comparisons,
        choice=choice,
        finalists=() if winner is None else read_finalists(store, MAIN),
        predicted=predicted,
        winner_score=_fit_value(fits, winner),
        leader_score=_fit_value(fits, leader),
        weights=objectives.tasks,
        objectives=objectives.names,
        unit=unit_of(objectives),
        notes=store.fact(NOTES),
        near_duplicates=_near_duplicates(store),
        front=read_front(store, MAIN) if objectives.names else Front(),
        path=None if child is None else read_run_layers(store).read(read_recipe(child.trial)),
        extensions=store.fact(EXTENSIONS),
        readings=readings_of_test(store),
        test_note=_note_on_test(store),
        renewals=renewals(store),
        controls_to_run={name: control_command(str(store.folder), name) for name in missing_controls(store)},
        training=read_training(store, TRAINED),
        tuning=read_tuning(store, winner, winners),
        learning=read_learning(store),
        not_learned=why_not_learned(store),
        chosen=store.fact(CHOSEN),
    )


def _winners(store: RunStore) -> dict[str, ModelResult]:
    """Return search -> its winner, for the searches that have one."""
    winners = {name: store.winner(name) for name in store.searches() if name != BASELINES}
    return {name: read_model_result(store, name, trial) for name, trial in winners.items() if trial}


def _is_untrained(search: str, winner: ModelResult) -> bool:
    """Return whether tuning kept the model that it started from, which is listed already."""
    return search in (TUNED, TUNED_PARENT) and winner.trial.asked.number == 0


def _leader(store: RunStore, fits: Sequence[EvaluationRow]) -> ModelResult | None:
    scored = [row for row in fits if row.value is not None]
    ranks = [(row.value, -row.trial) for row in scored if row.search == scored[-1].search]
    return read_model_result(store, "leader", store.trial(-max(ranks)[1])) if ranks else None


def _estimated(store: RunStore, model: ModelResult) -> ModelResult:
    """Return a model with its estimate for all of fit, if it needs one."""
    return replace(model, estimate=estimate(store, model.trial)) if model.fit else model


def _fit_value(fits: Sequence[EvaluationRow], model: ModelResult | None) -> float | None:
    return next((row.value for row in fits if model and row.trial == model.trial.id), None)


def _note_on_test(store: RunStore) -> str | None:
    """Return what repeated readings of test mean for the winner's test score; None after one."""
    is_read_before = any(renewal.test_was_read for renewal in renewals(store))
    again = "Test had been read before everything was scored again." if is_read_before else None
    return " ".join(filter(None, (note_on_test(store), again))) or None


def _near_duplicates(store: RunStore) -> NearDuplicates | None:
    fact = cast("dict[str, int] | None", store.fact("near_duplicates"))
    return None if fact is None else NearDuplicates(**fact)


def _choice(
    store: RunStore, winners: Sequence[ModelResult], baselines: Sequence[ModelResult]
) -> BestOfRun | None:
    """Return the choice of the best model, see ``best_of_run``; if set measures count, the stored one.

    None until it is known.
    """
    objectives = stored_objectives(store)
    if objectives.by_set:
        verdict = read_verdict(store) if store.status() == "finished" else None
        return None if verdict is None else verdict.choice
    n = len(store.items()["validation"])
    is_complete = all(each.validation is not None and each.validation.n == n for each in baselines)
    if not (store.fact(RACED) or is_complete):
        return None  # older versions do not race baselines
    trials, others = ([model.trial for model in own] for own in (winners, baselines))
    trained = (*TRAININGS, *(search for search in store.searches() if store.lessons(search)))
    return best_of_run(store, objectives, trials, others, trained)


def _predicted_test(store: RunStore, winner: ModelResult) -> Interval | None:
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
    validated = groups_by_task(complete[winner.trial.id], weights, store.groups())
    tested = {
        name: Groups.of(item.group for item in items if len(weights) == 1 or item.task == name)
        for name in weights
    }
    groups = [SplitGroups(validation=validated[name], test=tested[name]) for name in weights]
    shares = list(weights.values())
    return predict_weighted_winner(scores, place, list(n_test.values()), shares, groups=groups)
