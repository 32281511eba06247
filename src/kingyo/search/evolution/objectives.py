"""The objectives of a run: mean scores of its tasks, set measures, and functions of answers or of the recipe.

Tasks count by their weights, not by their numbers of items. If run.yaml asks for it, a set measure, computed
from all answers, replaces the mean item score of a task (``Objectives.by_set``). Set measures cannot be
estimated from some items, so then all items are scored; the same holds for functions of answers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, cast

from kingyo.core.types import Item, ItemScore, SetMeasure
from kingyo.errors import KingyoError
from kingyo.merging.methods import MergeMethod
from kingyo.merging.recipe import BlockWeights, Conditional, Recipe, Value
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.space.parameter import Bounds
from kingyo.search.strategies import pareto
from kingyo.stats import mean_name
from kingyo.store import RunStore, StoredTrial
from kingyo.tasks.answer_objectives import Answers, is_of_answers

Means = tuple[float, ...]
"""One number per task, in the order of the tasks: its mean score, or its set measure if that counts."""
FACT = "aims"
CACHED = 16  # models whose features are cached


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """The objectives of a run.

    Attributes:
        tasks: weight of each task, by its name in ``Item.task``, which is empty for a single task.
        names: names of the objectives, in order: tasks, or keys of ``measures`` (functions of the recipe) or
            ``answers`` (of the stored answers to a task). Empty for the weighted mean of the tasks alone.
        model: folder of a model whose tokenizer all candidates have, for ``answers``.
        by_set: task -> name of the set measure that replaces its mean item score.
        set_measures: task -> that measure; empty if the objectives were read from a store.
    """

    tasks: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    names: tuple[str, ...] = ()
    measures: Mapping[str, Callable[[Recipe], float]] = field(
        default_factory=dict[str, Callable[[Recipe], float]]
    )
    answers: Mapping[str, Callable[[Answers], float]] = field(
        default_factory=dict[str, Callable[[Answers], float]]
    )
    model: Path = Path()
    by_set: Mapping[str, str] = field(default_factory=dict[str, str])
    set_measures: Mapping[str, SetMeasure] = field(default_factory=dict[str, SetMeasure])

    @property
    def is_plain(self) -> bool:
        return len(self.tasks) == 1 and not self.names and not self.by_set

    @property
    def need_answers(self) -> bool:
        """Return whether values depend on answers, not only on their scores, and so on all items."""
        return bool(self.by_set or self.answers)

    @property
    def title(self) -> str:
        """The name of the deciding number, such as ``macro_f1`` or ``mean of 2 tasks (a by f1)``."""
        if len(self.tasks) == 1:
            return self.by_set.get("", "mean item score")
        measures = ", ".join(f"{task} by {measure}" for task, measure in self.by_set.items())
        note = f" ({measures})" if measures else ""
        return f"{mean_name(self.tasks.values())} of {len(self.tasks)} tasks{note}"

    def with_set_measures(self, measures: Mapping[str, Sequence[SetMeasure]]) -> Self:
        by_task = {
            task: CachedSetMeasure(next(measure for measure in measures[task] if measure.name == name))
            for task, name in self.by_set.items()
        }
        return replace(self, set_measures=by_task)

    def value(self, means: Means) -> float:
        if len(means) == 1:
            return means[0]
        weights = list(self.tasks.values())
        return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) / math.fsum(weights)

    def values(self, means: Means, trial: StoredTrial, answers: Sequence[Answers]) -> tuple[float, ...]:
        """Return one number per objective; none for a single one. ``answers`` are those of each task."""

        def value(name: str) -> float:
            if name in self.measures:
                return self.measures[name](read_recipe(trial))
            if name in self.answers:
                return self.value(tuple(float(self.answers[name](own)) for own in answers))
            return means[list(self.tasks).index(name) if len(self.tasks) > 1 else 0]

        return tuple(map(value, self.names))


class CachedSetMeasure:
    """A set measure that caches the features of the latest models."""

    def __init__(self, measure: SetMeasure) -> None:
        self._measure = measure
        self._features: dict[tuple[ItemScore, ...], Sequence[object]] = {}

    @property
    def name(self) -> str:
        return self._measure.name

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[object]:
        key = tuple(scores)
        if key not in self._features:
            if len(self._features) == CACHED:
                del self._features[next(iter(self._features))]
            self._features[key] = self._measure.features(items, scores)
        return self._features[key]

    def value(self, features: Sequence[object]) -> float:
        return self._measure.value(features)


def is_share(objective: str) -> bool:
    """Return whether an objective is a share of 1, which people read in %."""
    return not is_of_answers(objective)


def has_item_scores(objective: str) -> bool:
    return objective not in MEASURES and not is_of_answers(objective)


def objectives_as_facts(objectives: Objectives) -> dict[str, object]:
    if objectives.is_plain:
        return {}
    by_set = {"by_set": dict(objectives.by_set)} if objectives.by_set else {}
    return {FACT: {"tasks": dict(objectives.tasks), "objectives": list(objectives.names), **by_set}}


def stored_objectives(store: RunStore) -> Objectives:
    """Read tasks and names of objectives from a store, without measures, whose values are stored."""
    fact = store.fact(FACT)
    if not isinstance(fact, dict):
        return Objectives()
    stored = cast("Mapping[str, object]", fact)
    tasks = cast("Mapping[str, float]", stored["tasks"])
    by_set = cast("Mapping[str, str]", stored.get("by_set", {}))
    names = tuple(cast("Sequence[str]", stored["objectives"]))
    return Objectives(tasks=dict(tasks), names=names, by_set=dict(by_set))


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A trial with its objectives, and the weighted mean of its tasks.

    If these are estimates, ``raw`` has the mean of each objective over the scored items, and their number.
    """

    trial: StoredTrial
    objectives: tuple[float, ...]
    value: float
    is_partial: bool
    raw: tuple[tuple[float, int] | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Front:
    """The trials on the front, in the order of asking, one per recipe; ``beaten`` are the other trials."""

    points: tuple[FrontPoint, ...] = ()
    beaten: tuple[FrontPoint, ...] = ()

    @property
    def knee(self) -> FrontPoint | None:
        return self.points[pareto.knee([point.objectives for point in self.points])] if self.points else None

    def spread(self, n: int) -> list[FrontPoint]:
        if not self.points:
            return []
        distance = pareto.crowding([point.objectives for point in self.points])
        order = sorted(range(len(self.points)), key=lambda i: (-distance[i], i))
        knee = pareto.knee([point.objectives for point in self.points])
        return [self.points[i] for i in [knee, *(i for i in order if i != knee)][:n]]


def read_front(store: RunStore, search: str) -> Front:
    trials = {trial.id: trial for trial in store.trials(search)}
    objectives, points = stored_objectives(store), dict[str, FrontPoint]()
    for number, outcome in store.outcomes(search).items():
        trial = trials[number]
        if outcome.objectives and outcome.value is not None:
            point = FrontPoint(
                trial=trial,
                objectives=outcome.objectives,
                value=outcome.value,
                is_partial=outcome.is_partial,
                raw=_raw(store, trial, objectives) if outcome.is_partial else (),
            )
            points.setdefault(trial.recipe_hash, point)
    ordered = sorted(points.values(), key=lambda point: point.trial.id)
    unbeaten = {int(i) for i in pareto.front([point.objectives for point in ordered])}
    return Front(
        points=tuple(point for i, point in enumerate(ordered) if i in unbeaten),
        beaten=tuple(point for i, point in enumerate(ordered) if i not in unbeaten),
    )


def _raw(store: RunStore, trial: StoredTrial, objectives: Objectives) -> tuple[tuple[float, int] | None, ...]:
    scores, is_single = store.scores_of(trial.id, "fit"), len(objectives.tasks) == 1
    means: list[tuple[float, int] | None] = []
    for name in objectives.names:
        own = [score for item, score in scores.items() if is_single or item.partition("/")[0] == name]
        means.append(None if not has_item_scores(name) or not own else (sum(own) / len(own), len(own)))
    return tuple(means)


CLOSENESS, FEW_SOURCES, FEW_HOPS = "closeness", "few_sources", "few_hops"
MEASURES = (CLOSENESS, FEW_SOURCES, FEW_HOPS)
"""Objectives computed from a recipe without a model, from 0 to 1, larger is better. A weight per group counts
as the mean of its absolute values."""


def closeness(recipe: Recipe) -> float:
    """Return 1 / (1 + |λ| Σᵢ |wᵢ|): 1 for the base, smaller the more of each task vector is added."""
    total = sum(
        _magnitude(source.parameters.get("weight", recipe.parameters.get("weight", 1.0)))
        for source in recipe.sources
        if source.model != recipe.base_model
    )
    return 1 / (1 + _magnitude(recipe.parameters.get("lambda", 1.0)) * total)


def few_sources(recipe: Recipe, n_sources: int) -> float:
    return 1 - sum(source.model != recipe.base_model for source in recipe.sources) / n_sources


def few_hops(recipe: Recipe, longest: int) -> float:
    return 1 - len(recipe.path) / longest


def require_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> None:
    if not has_closeness(method, values):
        expected = "a method that adds weighted task vectors to a base, without normalising the weights"
        remedy = f"Leave {CLOSENESS} out, or use task_arithmetic (with normalize: false)."
        raise KingyoError(f"objectives: {CLOSENESS}", expected, method.name, remedy)


def has_closeness(method: MergeMethod, values: Mapping[str, float | bool | Bounds]) -> bool:
    params = {parameter.name: parameter for parameter in method.params}
    if not method.needs_base or not {"weight", "lambda"} <= params.keys():
        return False
    normalizes = "normalize" in params and bool(values.get("normalize", params["normalize"].default))
    return params["weight"].per_source and not normalizes


def _magnitude(value: Value) -> float:
    value = value.numbers if isinstance(value, BlockWeights) else value
    points = value if isinstance(value, tuple) else (value,)
    sizes = [_magnitude(p.value) if isinstance(p, Conditional) else abs(float(p)) for p in points]
    return sum(sizes) / len(sizes)
