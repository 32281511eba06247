"""What a run maximises: the mean scores of its tasks, and numbers that are read off the recipe.

A task counts by its weight and not by how many items it has. Where only some items were scored, each task is
estimated by a Rasch model of its own: an ability at one says little about another.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from kingyo.abilities import Responses
from kingyo.evolution.recipes import read_recipe
from kingyo.recipe import Recipe
from kingyo.screens import appraise
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, Item

Means = tuple[float, ...]
"""One mean score per task, in the order of the tasks."""


@dataclass(frozen=True, kw_only=True)
class Aims:
    """What a run maximises.

    Attributes:
        tasks: weight of each task, by its name in ``Item.task``, which is empty where there is only one.
        names: of the objectives, in their order: tasks, or keys of ``measures``. Empty where the only one is
            the weighted mean of the tasks.
        measures: objectives that are a function of the recipe.
    """

    tasks: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    names: tuple[str, ...] = ()
    measures: Mapping[str, Callable[[Recipe], float]] = field(
        default_factory=dict[str, Callable[[Recipe], float]]
    )

    @property
    def is_plain(self) -> bool:
        """One task and one objective: the mean of the scores is all that counts."""
        return len(self.tasks) == 1 and not self.names

    def value(self, means: Means) -> float:
        """The weighted mean of the tasks' means."""
        if len(means) == 1:
            return means[0]
        weights = list(self.tasks.values())
        return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) / math.fsum(weights)

    def objectives(self, means: Means, trial: StoredTrial) -> tuple[float, ...]:
        """One number per objective; empty where there is only one."""
        return tuple(
            self.measures[name](read_recipe(trial)) if name in self.measures else means[self._place(name)]
            for name in self.names
        )

    def _place(self, task: str) -> int:
        return list(self.tasks).index(task) if len(self.tasks) > 1 else 0


class Judge:
    """Turns the scores on one split into what counts of a trial.

    Args:
        aims: of the run.
        items: of the split, in their order.

    Attributes:
        task_of: the task of each item, by its name, in the order of the items.
        columns: the places of each task's items in that order.
    """

    def __init__(self, aims: Aims, items: Sequence[Item]) -> None:
        self.aims = aims
        self.task_of = {item.id: item.task for item in items}
        tasks = [item.task for item in items]
        self.columns = (
            [list(range(len(items)))]
            if len(aims.tasks) == 1
            else [[i for i, task in enumerate(tasks) if task == name] for name in aims.tasks]
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
        """Return the mean of the scores on each task; of each there is one at least."""
        if len(self.columns) == 1:
            assert evaluation.mean is not None, "it did not fail"
            return (evaluation.mean,)
        scores = self.by_task((each.item, each.score) for each in evaluation.scores)
        return tuple(sum(own) / len(own) for own in scores)

    def value(self, evaluation: Evaluation) -> float | None:
        """Return the weighted mean of one that was scored on some items of each task; None for a failure."""
        return None if evaluation.failure is not None else self.aims.value(self.measured(evaluation))

    def is_ahead(self, one: Evaluation, other: Evaluation) -> bool:
        """Whether one is better by more than a standard error of the difference, paired by item.

        Only items count that both were scored on: of each task there is one at least. Of several tasks the
        weighted mean of their differences, whose errors are independent.
        """
        theirs = {each.item: each.score for each in other.scores}
        both = [each for each in one.scores if each.item in theirs]
        gaps = self.by_task((each.item, each.score - theirs[each.item]) for each in both)
        means = tuple(statistics.fmean(own) for own in gaps)
        variances = [statistics.variance(own) / len(own) if len(own) > 1 else 0.0 for own in gaps]
        weights = list(self.aims.tasks.values())
        variance = math.fsum(w * w * each for w, each in zip(weights, variances, strict=True))
        return self.aims.value(means) > math.sqrt(variance) / math.fsum(weights)

    def outdoes(self, found: Evaluation, baseline: Evaluation) -> bool:
        """Whether a model that a search found is better than a baseline, beyond the luck of the best of many.

        The best of many looks better than it is, so it must be ahead by a standard error (Breiman et al.
        1984, Classification and Regression Trees, the 1 SE rule). A model that scores the same on each item
        that both were scored on, as the baseline itself does, is preferred to it as well.
        """
        rows = [{each.item: each.score for each in model.scores} for model in (found, baseline)]
        both = rows[0].keys() & rows[1].keys()
        return all(rows[0][item] == rows[1][item] for item in both) or self.is_ahead(found, baseline)

    def by_task(self, numbers: Iterable[tuple[str, float]]) -> list[list[float]]:
        """Return numbers of items, task by task; of a task without any, an empty list."""
        if len(self.columns) == 1:
            return [[number for _, number in numbers]]
        found: dict[str, list[float]] = {name: [] for name in self.aims.tasks}
        for item, number in numbers:
            found[self.task_of[item]].append(number)
        return list(found.values())

    def expected(self, responses: Responses, trials: Sequence[int]) -> list[Means]:
        """Estimate the means over all items, task by task, shrunk towards what other trials did."""
        found = [appraise(responses, trials, columns) for columns in self.columns]
        return [tuple(each.score for each in row) for row in zip(*found, strict=True)]


def aims_as_facts(aims: Aims) -> dict[str, object]:
    """What a run stores of its aims; nothing where they are plain."""
    return {} if aims.is_plain else {"aims": {"tasks": dict(aims.tasks), "objectives": list(aims.names)}}


def stored_aims(store: RunStore) -> Aims:
    """Read the tasks and the names of the objectives of a run; without measures, whose numbers are stored."""
    fact = store.fact("aims")
    if not isinstance(fact, dict):
        return Aims()
    found = cast("Mapping[str, object]", fact)
    tasks = cast("Mapping[str, float]", found["tasks"])
    return Aims(tasks=dict(tasks), names=tuple(cast("Sequence[str]", found["objectives"])))
