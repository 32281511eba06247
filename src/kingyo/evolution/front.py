"""The front of a search: its trials that no other beats in all objectives, as their strategy was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.evolution.objectives import Objectives, stored_objectives
from kingyo.space.recipe_objectives import MEASURES
from kingyo.store import RunStore, StoredTrial
from kingyo.strategies import pareto


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A trial on the front.

    Attributes:
        trial: what was asked.
        objectives: in the order of the run's.
        value: the weighted mean of its tasks.
        is_partial: the numbers are estimates from some of the items.
        raw: where they are, the mean of each objective over the items that were scored, and how many these
            are; None for an objective that is read off the recipe.
    """

    trial: StoredTrial
    objectives: tuple[float, ...]
    value: float
    is_partial: bool
    raw: tuple[tuple[float, int] | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Front:
    """Points in the order of asking, one per recipe; ``knee`` is the best compromise, None without any.

    ``beaten`` are the trials that are not on the front.
    """

    points: tuple[FrontPoint, ...] = ()
    beaten: tuple[FrontPoint, ...] = ()

    @property
    def knee(self) -> FrontPoint | None:
        """The point farthest beyond the plane through the front's ends; see ``pareto.knee``."""
        return self.points[pareto.knee([each.objectives for each in self.points])] if self.points else None

    def spread(self, n: int) -> list[FrontPoint]:
        """The knee, then those points that lie farthest from their neighbours: n at most."""
        if not self.points:
            return []
        distance = pareto.crowding([each.objectives for each in self.points])
        order = sorted(range(len(self.points)), key=lambda i: (-distance[i], i))
        knee = pareto.knee([each.objectives for each in self.points])
        return [self.points[i] for i in [knee, *(i for i in order if i != knee)][:n]]


def read_front(store: RunStore, search: str) -> Front:
    """Read the front of a search from what its strategy was told; empty where there is one objective."""
    trials = {trial.id: trial for trial in store.trials(search)}
    objectives, found = stored_objectives(store), dict[str, FrontPoint]()
    for each in store.outcomes(search):
        trial = trials[each.trial]
        if each.objectives and each.value is not None:
            point = FrontPoint(
                trial=trial,
                objectives=each.objectives,
                value=each.value,
                is_partial=each.is_partial,
                raw=_raw(store, trial, objectives) if each.is_partial else (),
            )
            found.setdefault(trial.recipe_hash, point)
    return _parted(list(found.values()))


def _raw(store: RunStore, trial: StoredTrial, objectives: Objectives) -> tuple[tuple[float, int] | None, ...]:
    """What was measured of each objective on fit."""
    scores, is_one = store.scores_of(trial.id, "fit"), len(objectives.tasks) == 1
    measured: list[tuple[float, int] | None] = []
    for name in objectives.names:
        own = [score for item, score in scores.items() if is_one or item.partition("/")[0] == name]
        is_read_off = name in MEASURES or not own
        measured.append(None if is_read_off else (sum(own) / len(own), len(own)))
    return tuple(measured)


def _parted(points: Sequence[FrontPoint]) -> Front:
    ordered = sorted(points, key=lambda each: each.trial.id)
    unbeaten = {int(i) for i in pareto.front([each.objectives for each in ordered])}
    return Front(
        points=tuple(each for i, each in enumerate(ordered) if i in unbeaten),
        beaten=tuple(each for i, each in enumerate(ordered) if i not in unbeaten),
    )
