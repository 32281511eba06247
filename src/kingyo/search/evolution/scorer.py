"""Compute the values of trials from their item scores on one split, and compare trials by them."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np

from kingyo.core.types import Evaluation, Item, ItemScore
from kingyo.errors import ChangedSourceError, KingyoError, crash
from kingyo.search.evolution.objectives import Means, Objectives
from kingyo.search.evolution.screens import estimate_means
from kingyo.stats import Array, Groups, SampleSize, size_of
from kingyo.stats.irt import Responses
from kingyo.stats.paired import half_sample_values
from kingyo.tasks.answer_objectives import Answers

Value = TypeVar("Value")
Features = list[Sequence[object]]
"""One feature per answer, task by task: its score, or the feature that the task's set measure needs."""


class Scorer:
    """Computes the values of trials on one split."""

    def __init__(self, objectives: Objectives, items: Sequence[Item]) -> None:
        self.objectives = objectives
        self._items = {item.id: item for item in items}
        self.group_of = {item.id: item.group for item in items}
        self.task_of = {item.id: item.task for item in items}
        tasks = [item.task for item in items]
        self.columns = (
            [list(range(len(items)))]
            if len(objectives.tasks) == 1
            else [[i for i, task in enumerate(tasks) if task == name] for name in objectives.tasks]
        )

    @property
    def strata(self) -> tuple[tuple[int, ...], ...]:
        return () if len(self.columns) == 1 else tuple(tuple(columns) for columns in self.columns)

    def value(self, evaluation: Evaluation) -> float | None:
        if evaluation.failure is not None:
            return None
        return self.objectives.value(self.observed_means(evaluation))

    def means(self, evaluations: Mapping[int, Evaluation], responses: Responses) -> dict[int, Means]:
        """Return the means of successful trials: all observed, or all estimated if one lacks items."""
        if any(len(each.scores) < len(self.task_of) for each in evaluations.values()):
            return dict(zip(evaluations, self.estimated_means(responses, list(evaluations)), strict=True))
        return {number: self.observed_means(each) for number, each in evaluations.items()}

    def observed_means(self, evaluation: Evaluation) -> Means:
        if self.objectives.by_set:
            return self._values(self._features(evaluation.scores))
        if len(self.columns) == 1:
            assert evaluation.mean is not None, "it did not fail"
            return (evaluation.mean,)
        scores = self.by_task((score.item, score.score) for score in evaluation.scores)
        return tuple(sum(own) / len(own) for own in scores)

    def estimated_means(self, responses: Responses, trials: Sequence[int]) -> list[Means]:
        """Estimate the means over all items, shrunk towards other trials."""
        by_task = [estimate_means(responses, trials, columns) for columns in self.columns]
        return list(zip(*by_task, strict=True))

    def missing_value_reason(self, scores: Sequence[ItemScore]) -> str | None:
        """Return why answers to all items have no value: a measure crashes or is not finite; else None."""
        try:
            means = self.observed_means(Evaluation(scores=tuple(scores)))
        except ChangedSourceError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a measure of the user's own may raise anything)
            return f"{self.objectives.title}: {crash(error)}"
        if not all(map(math.isfinite, means)):
            return f"{self.objectives.title}: no finite value of {len(scores)} answers"
        for name, objective in self.objectives.answers.items():
            try:
                values = [float(objective(own)) for own in self.answers(scores)]
            except (Exception, SystemExit) as error:  # noqa: BLE001 (a user's function may raise anything)
                return str(error) if isinstance(error, KingyoError) else f"{name}: {crash(error)}"
            if not all(map(math.isfinite, values)):
                return f"{name}: no finite value of {len(scores)} answers"
        return None

    def answers(self, scores: Iterable[ItemScore]) -> list[Answers]:
        """Return the answers to each task, in the order of the items; none if no objective needs them."""
        if not self.objectives.answers:
            return []
        by_item = {score.item: score for score in scores}
        parts = self.by_task((item, by_item[item]) for item in self._items if item in by_item)
        model = self.objectives.model
        return [
            Answers(items=[self._items[each.item] for each in own], scores=own, model=model) for own in parts
        ]

    def half_samples(self, evaluation: Evaluation) -> Array:
        """Return the value, or NaN, of random halves of each task's items, the same for the same items."""
        scored = {score.item for score in evaluation.scores}
        items = self.by_task((item, item) for item in self._items if item in scored)
        groups = [self.groups(own) for own in items]
        return half_sample_values(self._features(evaluation.scores), self._value_or_nan, groups)

    def groups(self, items: Iterable[str]) -> Groups | None:
        return Groups.of(self.group_of[item] for item in items)

    def size(self, evaluation: Evaluation) -> SampleSize:
        return size_of(len(evaluation.scores), self.groups(score.item for score in evaluation.scores))

    def lead(self, one: Evaluation, other: Evaluation) -> tuple[float, list[str]]:
        """Return by how much one is better on the items that both were scored on, and these items."""
        one, other = _shared(one, other), _shared(other, one)
        values = [self.objectives.value(self.observed_means(each)) for each in (one, other)]
        return values[0] - values[1], [score.item for score in one.scores]

    def is_ahead(self, one: Evaluation, other: Evaluation) -> bool:
        """Return whether one is better by more than a standard error of the difference, paired by item.

        For several tasks the difference is the weighted mean of independent differences. If set measures
        count, the error is the standard deviation over random halves.
        """
        if self.objectives.by_set:
            gap, _ = self.lead(one, other)
            gaps = self.half_samples(_shared(one, other)) - self.half_samples(_shared(other, one))
            gaps = gaps[np.isfinite(gaps)]
            return len(gaps) > 0 and gap > float(gaps.std())
        baseline = {score.item: score.score for score in other.scores}
        shared = [score for score in one.scores if score.item in baseline]
        by_task = self.by_task((score.item, score.score - baseline[score.item]) for score in shared)
        items = self.by_task((score.item, score.item) for score in shared)
        means = tuple(statistics.fmean(own) for own in by_task)
        variances = [
            _variance_of_mean(gaps, self.groups(own)) for gaps, own in zip(by_task, items, strict=True)
        ]
        weights = list(self.objectives.tasks.values())
        variance = math.fsum(w * w * own for w, own in zip(weights, variances, strict=True))
        return self.objectives.value(means) > math.sqrt(variance) / math.fsum(weights)

    def beats_baseline(self, bred: Evaluation, baseline: Evaluation) -> bool:
        """Return whether a bred model is clearly better than a baseline, or equal to it on every item.

        The best of many candidates looks better than it is, so it must be ahead by a standard error (Breiman
        et al. 1984, Classification and Regression Trees). If set measures count, equal means equal answers.
        """
        by_set = self.objectives.by_set
        rows = [
            {score.item: score[1:] if by_set else score.score for score in model.scores}
            for model in (bred, baseline)
        ]
        shared = rows[0].keys() & rows[1].keys()
        return all(rows[0][item] == rows[1][item] for item in shared) or self.is_ahead(bred, baseline)

    def by_task(self, values: Iterable[tuple[str, Value]]) -> list[list[Value]]:
        if len(self.columns) == 1:
            return [[value for _, value in values]]
        groups: dict[str, list[Value]] = {name: [] for name in self.objectives.tasks}
        for item, value in values:
            groups[self.task_of[item]].append(value)
        return list(groups.values())

    def _features(self, scores: Iterable[ItemScore]) -> Features:
        by_item = {score.item: score for score in scores}
        parts = self.by_task((item, by_item[item]) for item in self._items if item in by_item)
        features: Features = []
        for task, own in zip(self.objectives.tasks, parts, strict=True):
            measure = self.objectives.set_measures[task] if task in self.objectives.by_set else None
            items = [self._items[score.item] for score in own]
            features.append(
                [score.score for score in own] if measure is None else measure.features(items, own)
            )
        return features

    def _values(self, features: Sequence[Sequence[object]]) -> Means:
        return tuple(
            float(self.objectives.set_measures[task].value(own))
            if task in self.objectives.by_set
            else statistics.fmean(cast("Sequence[float]", own))
            for task, own in zip(self.objectives.tasks, features, strict=True)
        )

    def _value_or_nan(self, features: Sequence[Sequence[object]]) -> float:
        try:
            value = self.objectives.value(self._values(features))
        except (Exception, SystemExit):  # noqa: BLE001 (a measure need not accept every sample)
            return math.nan
        return value if math.isfinite(value) else math.nan


def _variance_of_mean(gaps: Sequence[float], groups: Groups | None) -> float:
    if groups is not None:
        return groups.variance(np.array(gaps))
    return statistics.variance(gaps) / len(gaps) if len(gaps) > 1 else 0.0


def _shared(evaluation: Evaluation, other: Evaluation) -> Evaluation:
    items = {score.item for score in other.scores}
    return replace(evaluation, scores=tuple(score for score in evaluation.scores if score.item in items))
