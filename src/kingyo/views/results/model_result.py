"""The scores and set measures of one model of a run on each split."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, cast

from kingyo.core.types import SPLITS, Evaluation, Genome, Item, ItemScore, Split
from kingyo.runs.config import FRANKENMERGE
from kingyo.search.evolution import BASELINES, MAIN, Objectives, stored_objectives
from kingyo.search.evolution.screens import estimate_means
from kingyo.search.evolution.set_measures import VERDICT, SetValue, read_set_values
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import (
    NORMAL,
    ROUNDING,
    Groups,
    Interval,
    interval,
    interval_json,
    paired_difference,
    size_of,
    weighted_mean,
    with_groups,
)
from kingyo.stats.irt import Responses
from kingyo.stats.irt.item_tasks import group_items
from kingyo.stats.prediction import SplitGroups, predict_winner
from kingyo.store import CONFIG, RunStore, StoredTrial
from kingyo.tasks import TextSettings

STATISTICS_SEED = 0
MIXTURES = ("uniform", FRANKENMERGE)
"""Baselines that are merges of the parents without a search."""


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """A model of a run: the winner, a baseline, or the winner of a control.

    Scores are None on splits where it was not evaluated (yet); with several tasks they
    are weighted means, and ``tasks`` has task -> split -> score.
    ``cut``: split -> number of answers that did not end within ``max_new_tokens``.
    ``decided``: split -> the value that the run decides by; None if scores decide. ``estimate``: the score on
    all of fit, if it was scored on some of its items.
    """

    name: str
    trial: StoredTrial
    recipe: Mapping[str, object]
    fit: Interval | None
    validation: Interval | None
    test: Interval | None
    tasks: Mapping[str, Mapping[Split, Interval]] = field(default_factory=dict[str, Mapping[Split, Interval]])
    cut: Mapping[Split, int] = field(default_factory=dict[Split, int])
    sets: tuple[SetValue, ...] = ()
    decided: Mapping[Split, Interval] | None = None
    estimate: FitEstimate | None = None

    @property
    def genome(self) -> Genome:
        return self.trial.asked.genome

    def on(self, split: Split) -> Interval | None:
        return {"fit": self.fit, "validation": self.validation, "test": self.test}[split]

    def is_estimated(self, split: Split) -> bool:
        return split == "fit" and self.estimate is not None

    def on_all(self, split: Split) -> Interval | None:
        """Return its score for all items of a split, estimated if it answered some of them."""
        return self.estimate.score if self.is_estimated(split) and self.estimate else self.on(split)

    def counts_on(self, split: Split) -> Interval | None:
        """Return the value that the run decides by on a split: its score, or a set measure."""
        return self.on(split) if self.decided is None else self.decided.get(split)

    def scores_json(self) -> dict[str, object]:
        """Return the scores in ``kingyo show --json``."""
        tasks = {
            name: {split: interval_json(own.get(split)) for split in SPLITS}
            for name, own in self.tasks.items()
        }
        return {
            **{split: interval_json(self.on(split)) for split in SPLITS},
            **({} if self.estimate is None else {"estimate": self.estimate.to_json()}),
            **({"tasks": tasks} if tasks else {}),
            **({"set_measures": [asdict(value) for value in self.sets]} if self.sets else {}),
        }

    def to_json(self) -> dict[str, object]:
        return {
            "trial": self.trial.asked.number,
            "search": self.trial.search,
            "genome": list(self.genome),
            "recipe": dict(self.recipe),
            "estimate": None,
            **self.scores_json(),
        }


def read_model_result(store: RunStore, name: str, trial: StoredTrial) -> ModelResult:
    """Read the scores of a trial on all splits, under a given name."""
    objectives, sets = stored_objectives(store), read_set_values(store, trial)
    weights = objectives.tasks
    evaluations: dict[Split, Evaluation | None] = {}
    by_task: dict[Split, dict[str, Interval]] = {}
    means: dict[Split, Interval | None] = {}
    for split in SPLITS:
        evaluation = evaluations[split] = store.evaluation(trial.id, split)
        groups = groups_by_task(evaluation, weights, store.groups())
        own = by_task[split] = {
            name: interval(scores, groups[name], seed=STATISTICS_SEED)
            for name, scores in scores_by_task(evaluation, weights).items()
            if scores
        }
        is_known = len(own) == len(weights)  # else some task has no score
        means[split] = weighted_mean(list(own.values()), list(weights.values())) if is_known else None
    return ModelResult(
        name=name,
        trial=trial,
        recipe=read_recipe(trial).to_dict(),
        fit=means["fit"],
        validation=means["validation"],
        test=means["test"],
        tasks={
            task: {split: own[task] for split, own in by_task.items() if task in own}
            for task in (weights if len(weights) > 1 else ())
        },
        cut={
            split: sum(score.is_cut for score in each.scores) for split, each in evaluations.items() if each
        },
        sets=sets,
        decided=_deciding_intervals(sets, objectives.title) if objectives.by_set else None,
    )


def _deciding_intervals(sets: Sequence[SetValue], title: str) -> dict[Split, Interval]:
    """Return split -> the set measure that decides the run, if it is known; ``title`` is its name."""
    intervals: dict[Split, Interval] = {}
    for each in sets:
        if (each.task, each.measure) == ("", title) and each.value is not None:
            assert each.low is not None and each.high is not None, "a value has bounds"
            bounds = Interval(score=each.value, n=each.n, low=each.low, high=each.high)
            intervals[each.split] = with_groups(bounds, each)
    return intervals


def scores_by_task(evaluation: Evaluation | None, weights: Mapping[str, float]) -> dict[str, list[float]]:
    """Return task -> its scores in the order of the items."""
    return {name: [score.score for score in own] for name, own in _own_scores(evaluation, weights).items()}


def groups_by_task(
    evaluation: Evaluation | None, weights: Mapping[str, float], labels: Mapping[str, str]
) -> dict[str, Groups | None]:
    """Return task -> the groups of the items of ``scores_by_task``; ``labels`` is the store's ``groups``."""
    return {
        name: Groups.of(labels.get(score.item, "") for score in own)
        for name, own in _own_scores(evaluation, weights).items()
    }


def _own_scores(
    evaluation: Evaluation | None, weights: Mapping[str, float]
) -> Mapping[str, Sequence[ItemScore]]:
    scores = () if evaluation is None or evaluation.failure is not None else evaluation.scores
    if len(weights) == 1:
        return dict.fromkeys(weights, scores)
    by_task: dict[str, list[ItemScore]] = {name: [] for name in weights}
    for score in scores:
        by_task[score.item.partition("/")[0]].append(score)
    return by_task


def token_limits(store: RunStore) -> dict[str, int]:
    """Return task -> ``max_new_tokens``; the name of a single task is empty."""
    config = store.fact(CONFIG)
    tasks = cast("Mapping[str, Mapping[str, int]]", config.get("tasks") or {"": config.get("task") or {}})
    limits = {name: own.get("max_new_tokens", TextSettings.max_new_tokens) for name, own in tasks.items()}
    return limits if len(limits) > 1 else {"": next(iter(limits.values()))}


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """A model minus another model, over the same test items.

    Attributes:
        p: two-sided p-value that the two are equally good.
        test: McNemar's exact test for one task scored 0 or 1, or Student's if its items are in groups; the
            level at which Gaffke's interval excludes 0 otherwise; half-samples if set measures count, whose
            difference this is then; bootstrap in runs of an older checkout.
        is_alike: whether both gave the same answer to every item, so that they may be the same model.
    """

    other: str
    difference: Interval
    p: float
    test: Literal["mcnemar", "gaffke", "half-samples", "student", "bootstrap"]
    is_alike: bool = False

    @property
    def verdict(self) -> Literal["better", "worse", "open"]:
        """Say what it shows: nothing unless the interval leaves out 0, as it does where p <= 0.05."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "open"

    def to_json(self) -> dict[str, object]:
        numbers = interval_json(self.difference) or {}
        return {**numbers, "p": self.p, "test": self.test, "alike": self.is_alike}


def compare_on_test(
    store: RunStore, model: ModelResult, others: Sequence[ModelResult]
) -> tuple[PairedComparison, ...]:
    """Compare a model with others on the test items, by scores or by the stored set measures.

    Models without a test score are left out; the result is empty if the model has none.
    """
    own = None if model.test is None else store.evaluation(model.trial.id, "test")
    if own is None:
        return ()
    objectives = stored_objectives(store)
    weights, verdict = objectives.tasks, store.fact(VERDICT) if objectives.by_set else None
    comparisons: list[PairedComparison] = []
    for other in others:
        evaluation = store.evaluation(other.trial.id, "test") if other.test else None
        if evaluation is None:
            continue
        if not objectives.by_set:
            one, two = (scores_by_task(each, weights) for each in (own, evaluation))
            pairs = [(one[task], two[task]) for task in weights]
            groups = list(groups_by_task(own, weights, store.groups()).values())
            difference = paired_difference(pairs, list(weights.values()), STATISTICS_SEED, groups=groups)
        else:
            difference = verdict.difference(model.trial.id, other.trial.id) if verdict else None
        if difference is not None:
            comparisons.append(
                PairedComparison(
                    other=other.name,
                    difference=difference.interval,
                    p=difference.p,
                    test=difference.test,
                    is_alike=_answers(own) == _answers(evaluation),
                )
            )
    return tuple(comparisons)


def _answers(evaluation: Evaluation) -> dict[str, tuple[object, ...]]:
    return {score.item: score[1:] for score in evaluation.scores}


def gap_to_test(model: ModelResult, split: Split) -> Interval | None:
    """Return a model's score on fit or validation minus its score on test; None if one is unknown.

    An interval above 0 means that picking by this split most likely biased its score. For fit, use it only
    if the model was scored on all items: items that a screen chose are harder or easier than others. The
    items differ, so the two scores are independent: square-and-add (Newcombe 1998, Statistics in Medicine
    17:873, method 10; for any two intervals Zou & Donner 2008). ``n`` is that of the smaller split.
    """
    chosen, test = model.on(split), model.test
    if chosen is None or test is None:
        return None
    difference, smaller = chosen.score - test.score, min(chosen, test, key=lambda each: each.n)
    bounds = Interval(
        score=difference,
        n=smaller.n,
        low=difference - math.hypot(chosen.score - chosen.low, test.high - test.score),
        high=difference + math.hypot(chosen.high - chosen.score, test.score - test.low),
    )
    return with_groups(bounds, smaller)


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
    validated = groups_by_task(complete[winner.trial.id], weights, store.groups())
    tested = {
        name: Groups.of(item.group for item in items if len(weights) == 1 or item.task == name)
        for name in weights
    }
    groups = [SplitGroups(validation=validated[name], test=tested[name]) for name in weights]
    shares = list(weights.values())
    return predict_winner(scores, place, list(n_test.values()), shares, groups)


NEAR = 90  # number of neighbouring trials on each side to compare a trial with
MIN_SCORED = 4  # smallest expected number of scored items per set; otherwise items are not divided


@dataclass(frozen=True, kw_only=True)
class FitEstimate:
    """An estimated score on all of fit, and the mean over the scored items (weighted over several tasks)."""

    score: Interval
    raw: float

    def to_json(self) -> dict[str, object]:
        estimate = interval_json(self.score) or {}
        return {**estimate, "raw": {"score": self.raw, **self.score.size_json}}


def estimate(store: RunStore, trial: StoredTrial) -> FitEstimate | None:
    """Estimate the score of a trial on all of fit.

    Baselines are scored on items of fit drawn at random, so theirs is the interval of these; for the mean of
    all items of fit it does not matter which belong together. That of another trial
    holds with 95% confidence if the trial is similar to those before and after it. If these trials and the
    baselines all have equal scores, it is computed from the trial's own items. Sets of items that baselines
    differ on (``kingyo.stats.irt.item_tasks``) are estimated separately.

    None if the trial was scored on all items, failed, or has no score on some task.
    """
    items, objectives = store.items()["fit"], stored_objectives(store)
    evaluation = store.evaluation(trial.id, "fit")
    columns, names = _columns(items, objectives), [item.id for item in items]
    if evaluation is None or evaluation.failure is not None or len(evaluation.scores) == len(items):
        return None
    scores = {score.item: score.score for score in evaluation.scores}
    weights = list(objectives.tasks.values())
    raw = _raw_mean(scores, names, columns, weights)
    if raw is None:
        return None
    if trial.search == BASELINES:
        parts = [
            _narrowed(interval(own), math.sqrt(1 - len(own) / len(column)))  # finite population correction
            for column in columns
            for own in [_scored(scores, names, column)]
        ]
    else:
        parts = _parts(store, items, scores) if len(columns) == 1 else []
        if parts:
            columns, weights = parts, [float(len(positions)) for positions in parts]
        labels = Groups.of(item.group for item in items)
        parts = _intervals(store, trial, names, scores, columns, labels)
    scored = Groups.of(item.group for item in items if item.id in scores)
    score = with_groups(weighted_mean(parts, weights), size_of(len(scores), scored))
    return FitEstimate(score=replace(score, low=max(0.0, score.low), high=min(1.0, score.high)), raw=raw)


def _intervals(
    store: RunStore,
    trial: StoredTrial,
    names: Sequence[str],
    scores: Mapping[str, float],
    columns: Sequence[Sequence[int]],
    groups: Groups | None,
) -> list[Interval]:
    near = store.scores(trial.search, "fit", (trial.id - NEAR, trial.id + NEAR))
    rows = {**store.scores(BASELINES, "fit"), **near}
    responses = Responses(names)
    for key, row in rows.items():
        responses.add(key, row)
    parts: list[Interval] = []
    for column in columns:
        own = _scored(scores, names, column)
        items = {names[i] for i in column}
        known = [score for row in rows.values() for item, score in row.items() if item in items]
        if max(known) - min(known) <= ROUNDING:
            parts.append(_narrowed(interval(own), 1 - len(own) / len(column)))
            continue
        found = estimate_means(responses, [trial.id], column, groups)[0]
        reach = NORMAL.inv_cdf(0.975) * found.error
        low, high = found.score - reach, found.score + reach
        parts.append(Interval(score=found.score, n=found.n, low=low, high=high))
    return parts


def raw_means(store: RunStore, search: str) -> dict[int, float]:
    """Return id of a trial -> its mean on fit over the scored items; for several tasks the weighted mean.

    Trials without a score on some task are left out.
    """
    objectives, items = stored_objectives(store), store.items()["fit"]
    names, columns = [item.id for item in items], _columns(items, objectives)
    weights = list(objectives.tasks.values())
    rows = store.scores(search, "fit").items()
    means = {trial: _raw_mean(row, names, columns, weights) for trial, row in rows}
    return {trial: mean for trial, mean in means.items() if mean is not None}


def _raw_mean(
    row: Mapping[str, float],
    names: Sequence[str],
    columns: Sequence[Sequence[int]],
    weights: Sequence[float],
) -> float | None:
    scored = [_scored(row, names, column) for column in columns]
    if not all(scored):
        return None
    means = [sum(part) / len(part) for part in scored]
    return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) / math.fsum(weights)


def _scored(row: Mapping[str, float], names: Sequence[str], positions: Sequence[int]) -> list[float]:
    return [row[names[i]] for i in positions if names[i] in row]


def _parts(store: RunStore, items: Sequence[Item], scored: Collection[str]) -> list[list[int]]:
    """Return the positions of each set of items that baselines differ on, and of the other items.

    Nothing if the baselines do not differ or lack items, or if trials get too few items of a set.
    """
    rows = list(store.scores(BASELINES, "fit").values())
    names = group_items([row for row in rows if len(row) == len(items)])
    if not names:
        return []
    sets = [[i for i, item in enumerate(items) if item.id in own] for own in map(set, names)]
    placed = {i for own in sets for i in own}
    others = [i for i in range(len(items)) if i not in placed]
    parts = [*sets, others] if others else sets
    min_size = MIN_SCORED * len(items) / len(scored)
    is_large = all(len(part) >= min_size and any(items[i].id in scored for i in part) for part in parts)
    return parts if is_large else []


def _columns(items: Sequence[Item], objectives: Objectives) -> list[list[int]]:
    is_single = len(objectives.tasks) == 1
    return [
        [i for i, item in enumerate(items) if is_single or item.task == name] for name in objectives.tasks
    ]


def _narrowed(measured: Interval, factor: float) -> Interval:
    low = measured.score - factor * (measured.score - measured.low)
    high = measured.score + factor * (measured.high - measured.score)
    return replace(measured, low=low, high=high)
