"""The Pareto front of a search: trials that no other beats in all objectives, by the values told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.evolution.objectives import Objectives, stored_objectives
from kingyo.space.recipe_objectives import MEASURES
from kingyo.store import RunStore, StoredTrial
from kingyo.strategies import pareto


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A trial with its objectives.

    Attributes:
        trial: the trial.
        objectives: values in the order of the run's objectives.
        value: the weighted mean of its tasks.
        is_partial: the numbers are estimates from some of the items.
        raw: if they are, the mean of each objective over the scored items, and the number of these; None for
            an objective that is computed from the recipe.
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
        """Return the best compromise, see ``pareto.knee``; None for an empty front."""
        return self.points[pareto.knee([point.objectives for point in self.points])] if self.points else None

    def spread(self, n: int) -> list[FrontPoint]:
        """Return the knee, then the points farthest from their neighbours; at most n."""
        if not self.points:
            return []
        distance = pareto.crowding([point.objectives for point in self.points])
        order = sorted(range(len(self.points)), key=lambda i: (-distance[i], i))
        knee = pareto.knee([point.objectives for point in self.points])
        return [self.points[i] for i in [knee, *(i for i in order if i != knee)][:n]]


def read_front(store: RunStore, search: str) -> Front:
    """Read the front of a search from the stored outcomes; empty for a single objective."""
    trials = {trial.id: trial for trial in store.trials(search)}
    objectives, points = stored_objectives(store), dict[str, FrontPoint]()
    for outcome in store.outcomes(search):
        trial = trials[outcome.trial]
        if outcome.objectives and outcome.value is not None:
            point = FrontPoint(
                trial=trial,
                objectives=outcome.objectives,
                value=outcome.value,
                is_partial=outcome.is_partial,
                raw=_raw(store, trial, objectives) if outcome.is_partial else (),
            )
            points.setdefault(trial.recipe_hash, point)
    return _split(list(points.values()))


def _raw(store: RunStore, trial: StoredTrial, objectives: Objectives) -> tuple[tuple[float, int] | None, ...]:
    """Return the mean of each objective over the scored fit items, with their number."""
    scores, is_single = store.scores_of(trial.id, "fit"), len(objectives.tasks) == 1
    means: list[tuple[float, int] | None] = []
    for name in objectives.names:
        own = [score for item, score in scores.items() if is_single or item.partition("/")[0] == name]
        means.append(None if name in MEASURES or not own else (sum(own) / len(own), len(own)))
    return tuple(means)


def _split(points: Sequence[FrontPoint]) -> Front:
    ordered = sorted(points, key=lambda point: point.trial.id)
    unbeaten = {int(i) for i in pareto.front([point.objectives for point in ordered])}
    return Front(
        points=tuple(point for i, point in enumerate(ordered) if i in unbeaten),
        beaten=tuple(point for i, point in enumerate(ordered) if i not in unbeaten),
    )
