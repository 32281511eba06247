"""What a run maximises: the mean scores of its tasks, and numbers that are read off the recipe.

A task counts by its weight and not by how many items it has. Where only some items were scored, each task is
estimated by a Rasch model of its own: an ability at one says little about another.

Where the run.yaml asks for it, a measure of the set of all answers counts of a task in place of the mean of
its item scores (``Objectives.by_set``). Nothing is estimated then: all items are scored.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar, cast

import numpy as np

from kingyo.errors import ChangedSourceError, crash
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.irt import Responses
from kingyo.recipe import Recipe
from kingyo.screens import estimate_means
from kingyo.stats import Array, mean_name
from kingyo.stats.bootstrap import bootstrap_values
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, Item, ItemScore, SetMeasure

Value = TypeVar("Value")
Means = tuple[float, ...]
"""One number per task, in the order of the tasks: its mean score, or its measure where that counts."""
Features = list[Sequence[object]]
"""What counts of each answer, task by task: its score, or what the measure of its task needs of it."""
REMEMBERED = 16  # models whose features are kept


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """What a run maximises.

    Attributes:
        tasks: weight of each task, by its name in ``Item.task``, which is empty where there is only one.
        names: of the objectives, in their order: tasks, or keys of ``measures``. Empty where the only one is
            the weighted mean of the tasks.
        measures: objectives that are a function of the recipe.
        by_set: of tasks that count by a measure of all their answers: its name.
        set_measures: these measures; none where they are read from a run, whose numbers are stored.
    """

    tasks: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    names: tuple[str, ...] = ()
    measures: Mapping[str, Callable[[Recipe], float]] = field(
        default_factory=dict[str, Callable[[Recipe], float]]
    )
    by_set: Mapping[str, str] = field(default_factory=dict[str, str])
    set_measures: Mapping[str, SetMeasure] = field(default_factory=dict[str, SetMeasure])

    @property
    def is_plain(self) -> bool:
        """One task and one objective: the mean of the scores is all that counts."""
        return len(self.tasks) == 1 and not self.names and not self.by_set

    @property
    def title(self) -> str:
        """What to call the number that counts, where measures do: ``macro_f1``, ``mean of 2 tasks (…)``."""
        if len(self.tasks) == 1:
            return self.by_set.get("", "mean item score")
        said = ", ".join(f"{task} by {measure}" for task, measure in self.by_set.items())
        return f"{mean_name(self.tasks.values())} of {len(self.tasks)} tasks{f' ({said})' if said else ''}"

    def bound(self, measures: Mapping[str, Sequence[SetMeasure]]) -> Self:
        """Return the same with the measures that ``by_set`` names.

        Args:
            measures: name of a task -> its measures.
        """
        found = {
            task: CachedSetMeasure(next(each for each in measures[task] if each.name == name))
            for task, name in self.by_set.items()
        }
        return replace(self, set_measures=found)

    def value(self, means: Means) -> float:
        """The weighted mean of the tasks' means."""
        if len(means) == 1:
            return means[0]
        weights = list(self.tasks.values())
        return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) / math.fsum(weights)

    def values(self, means: Means, trial: StoredTrial) -> tuple[float, ...]:
        """One number per objective; empty where there is only one."""
        return tuple(
            self.measures[name](read_recipe(trial)) if name in self.measures else means[self._place(name)]
            for name in self.names
        )

    def _place(self, task: str) -> int:
        return list(self.tasks).index(task) if len(self.tasks) > 1 else 0


class CachedSetMeasure:
    """A measure that does not compute the features of the latest models again."""

    def __init__(self, measure: SetMeasure) -> None:
        self._measure = measure
        self._known: dict[tuple[ItemScore, ...], Sequence[object]] = {}

    @property
    def name(self) -> str:
        """That of the measure."""
        return self._measure.name

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[object]:
        """Return what the measure needs of each answer."""
        key = tuple(scores)
        if key not in self._known:
            found = self._measure.features(items, scores)
            while len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return self._known[key]

    def value(self, features: Sequence[object]) -> float:
        """Return the measure of a set."""
        return self._measure.value(features)


class Scorer:
    """Turns the scores on one split into what counts of a trial.

    Args:
        objectives: of the run.
        items: of the split, in their order.

    Attributes:
        task_of: the task of each item, by its name, in the order of the items.
        columns: the places of each task's items in that order.
    """

    def __init__(self, objectives: Objectives, items: Sequence[Item]) -> None:
        self.objectives = objectives
        self._items = {item.id: item for item in items}
        self.task_of = {item.id: item.task for item in items}
        tasks = [item.task for item in items]
        self.columns = (
            [list(range(len(items)))]
            if len(objectives.tasks) == 1
            else [[i for i, task in enumerate(tasks) if task == name] for name in objectives.tasks]
        )

    @property
    def strata(self) -> tuple[tuple[int, ...], ...]:
        """The columns of each task's items, for the screen; none where there is one task."""
        return () if len(self.columns) == 1 else tuple(tuple(each) for each in self.columns)

    def means(self, found: Mapping[int, Evaluation], responses: Responses) -> dict[int, Means]:
        """Return the means of trials that did not fail: all as measured, or all as estimated.

        Args:
            found: how each did; of some trials only some items may be scored.
            responses: the scores of these, and of others to compare them with.
        """
        if any(len(each.scores) < len(self.task_of) for each in found.values()):
            return dict(zip(found, self.expected(responses, list(found)), strict=True))
        return {number: self.measured(each) for number, each in found.items()}

    def measured(self, evaluation: Evaluation) -> Means:
        """Return what counts of each task; of each there is one score at least."""
        if self.objectives.by_set:
            return self._values(self._features(evaluation.scores))
        if len(self.columns) == 1:
            assert evaluation.mean is not None, "it did not fail"
            return (evaluation.mean,)
        scores = self.by_task((each.item, each.score) for each in evaluation.scores)
        return tuple(sum(own) / len(own) for own in scores)

    def no_value(self, scores: Sequence[ItemScore]) -> str | None:
        """Say why nothing counts of these answers to all items, since a measure crashes or has no value.

        None where all is well. It is the one place where such a crash becomes a reason.

        Raises:
            ChangedSourceError: an image is no longer what it was.
        """
        try:
            means = self.measured(Evaluation(scores=tuple(scores)))
        except ChangedSourceError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a measure of the user's own may raise anything)
            return f"{self.objectives.title}: {crash(error)}"
        if all(map(math.isfinite, means)):
            return None
        return f"{self.objectives.title}: no finite value of {len(scores)} answers"

    def drawn(self, evaluation: Evaluation) -> Array:
        """Return what counts of an evaluation for sets of its items that are drawn anew, task by task.

        NaN where a set has no value. Evaluations with the same items get the same sets.
        """
        return bootstrap_values(self._features(evaluation.scores), self._value_or_nan)

    def _features(self, scores: Iterable[ItemScore]) -> Features:
        """What counts of each answer, task by task, in the order of the items."""
        found = {each.item: each for each in scores}
        parts = self.by_task((item, found[item]) for item in self._items if item in found)
        features: Features = []
        for task, own in zip(self.objectives.tasks, parts, strict=True):
            measure = self.objectives.set_measures[task] if task in self.objectives.by_set else None
            items = [self._items[each.item] for each in own]
            features.append([each.score for each in own] if measure is None else measure.features(items, own))
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
        except (Exception, SystemExit):  # noqa: BLE001 (a measure need not be able to take every set)
            return math.nan
        return value if math.isfinite(value) else math.nan

    def _shared(self, evaluation: Evaluation, other: Evaluation) -> Evaluation:
        theirs = {each.item for each in other.scores}
        return replace(evaluation, scores=tuple(each for each in evaluation.scores if each.item in theirs))

    def value(self, evaluation: Evaluation) -> float | None:
        """Return the weighted mean of one that was scored on some items of each task; None for a failure."""
        return None if evaluation.failure is not None else self.objectives.value(self.measured(evaluation))

    def is_ahead(self, one: Evaluation, other: Evaluation) -> bool:
        """Whether one is better by more than a standard error of the difference, paired by item.

        Only items count that both were scored on: of each task there is one at least. Of several tasks the
        weighted mean of their differences, whose errors are independent. Where measures count, the error is
        the deviation of sets drawn anew.
        """
        if self.objectives.by_set:
            one, other = self._shared(one, other), self._shared(other, one)
            gap = self.objectives.value(self.measured(one)) - self.objectives.value(self.measured(other))
            drawn = self.drawn(one) - self.drawn(other)
            drawn = drawn[np.isfinite(drawn)]
            return len(drawn) > 0 and gap > float(drawn.std())
        theirs = {each.item: each.score for each in other.scores}
        both = [each for each in one.scores if each.item in theirs]
        gaps = self.by_task((each.item, each.score - theirs[each.item]) for each in both)
        means = tuple(statistics.fmean(own) for own in gaps)
        variances = [statistics.variance(own) / len(own) if len(own) > 1 else 0.0 for own in gaps]
        weights = list(self.objectives.tasks.values())
        variance = math.fsum(w * w * each for w, each in zip(weights, variances, strict=True))
        return self.objectives.value(means) > math.sqrt(variance) / math.fsum(weights)

    def outdoes(self, found: Evaluation, baseline: Evaluation) -> bool:
        """Whether a model that a search found is better than a baseline, beyond the luck of the best of many.

        The best of many looks better than it is, so it must be ahead by a standard error (Breiman et al.
        1984, Classification and Regression Trees, the 1 SE rule). A model that scores the same on each item
        that both were scored on, as the baseline itself does, is preferred to it as well. Where measures
        count, it must answer the same.
        """
        rows = [{each.item: self._counted(each) for each in model.scores} for model in (found, baseline)]
        both = rows[0].keys() & rows[1].keys()
        return all(rows[0][item] == rows[1][item] for item in both) or self.is_ahead(found, baseline)

    def _counted(self, score: ItemScore) -> object:
        return score[1:] if self.objectives.by_set else score.score

    def by_task(self, values: Iterable[tuple[str, Value]]) -> list[list[Value]]:
        """Return values of items, task by task; of a task without any, an empty list."""
        if len(self.columns) == 1:
            return [[value for _, value in values]]
        found: dict[str, list[Value]] = {name: [] for name in self.objectives.tasks}
        for item, value in values:
            found[self.task_of[item]].append(value)
        return list(found.values())

    def expected(self, responses: Responses, trials: Sequence[int]) -> list[Means]:
        """Estimate the means over all items, task by task, shrunk towards what other trials did."""
        found = [estimate_means(responses, trials, columns) for columns in self.columns]
        return [tuple(each.score for each in row) for row in zip(*found, strict=True)]


def objectives_as_facts(objectives: Objectives) -> dict[str, object]:
    """What a run stores of its aims; nothing where they are plain."""
    if objectives.is_plain:
        return {}
    by_set = {"by_set": dict(objectives.by_set)} if objectives.by_set else {}
    return {"aims": {"tasks": dict(objectives.tasks), "objectives": list(objectives.names), **by_set}}


def stored_objectives(store: RunStore) -> Objectives:
    """Read the tasks and the names of the objectives of a run; without measures, whose numbers are stored."""
    fact = store.fact("aims")
    if not isinstance(fact, dict):
        return Objectives()
    found = cast("Mapping[str, object]", fact)
    tasks = cast("Mapping[str, float]", found["tasks"])
    by_set = cast("Mapping[str, str]", found.get("by_set", {}))
    names = tuple(cast("Sequence[str]", found["objectives"]))
    return Objectives(tasks=dict(tasks), names=names, by_set=dict(by_set))
