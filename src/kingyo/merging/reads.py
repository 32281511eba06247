"""What reading a tensor of a source takes: which bytes of which files, and how much memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.fitted import FittedCheckpoint
from kingyo.checkpoints.lora import AdaptedCheckpoint
from kingyo.checkpoints.update import Change
from kingyo.engine import Plan, TensorJob
from kingyo.engine.alignment import AlignedCheckpoint
from kingyo.engine.derived import PlannedCheckpoint


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reading takes.

    Attributes:
        stored: the tensors in files.
        computed: bytes of memory for what is computed from them.
        jobs: merges that are done on the way, of recipes that others need.
    """

    stored: frozenset[TensorInfo]
    computed: int = 0
    jobs: tuple[TensorJob, ...] = field(default=())


class Reader:
    """Knows what readings take."""

    def __init__(self) -> None:
        self._jobs: dict[int, dict[str, TensorJob]] = {}

    def job(self, plan: Plan, job: TensorJob) -> Reading:
        """All that a job reads."""
        each_once = {(each.reference, each.tensor): each for each in job.reads}.values()
        return _together(self.tensor(plan.sources[each.reference], each.tensor) for each in each_once)

    def tensor(self, model: Checkpoint, name: str) -> Reading:
        """What a tensor of a model takes."""
        if isinstance(model, PlannedCheckpoint):
            return self._planned(model, name)
        if isinstance(model, AdaptedCheckpoint):
            parts = self._adapted(model, name)
        elif isinstance(model, AlignedCheckpoint):
            parts = self._aligned(model, name)
        elif isinstance(model, FittedCheckpoint):
            parts = [self.tensor(piece.model, piece.name) for piece in model.views[name].pieces]
        else:
            parts = [Reading(stored=frozenset({model.tensors[model.home(name) or name]}))]
        return parts[0] if len(parts) == 1 else _computed(parts, model.tensors[name])

    def _adapted(self, model: AdaptedCheckpoint, name: str) -> list[Reading]:
        own, change = self.tensor(model.model, name), model.changes.get(name)
        return [own] if change is None else [own, Reading(stored=frozenset(_stored(change)))]

    def _aligned(self, model: AlignedCheckpoint, name: str) -> list[Reading]:
        if model.tensors[name] is model.model.tensors[name]:
            return [self.tensor(model.model, name)]
        donors = {id(each): each for each in (model.model, *model.made_of) if name in each.tensors}
        return [self.tensor(each, name) for each in donors.values()]

    def _planned(self, model: PlannedCheckpoint, name: str) -> Reading:
        plan = model.plan
        if id(plan) not in self._jobs:
            self._jobs[id(plan)] = {job.name: job for job in plan.jobs}
        job = self._jobs[id(plan)][name]
        below = self.job(plan, job)
        made = _computed([below], model.tensors[name])
        return Reading(stored=made.stored, computed=made.computed, jobs=(*below.jobs, job))


def _stored(change: Change) -> Iterator[TensorInfo]:
    """The tensors of an adapter that a change is made of."""
    update = change.update
    found = (change.replacement, change.shift)
    if update is not None:
        found = (*found, update.a, update.b, update.magnitude)
    yield from (info for info in found if info is not None)


def _together(readings: Iterable[Reading]) -> Reading:
    found = tuple(readings)
    return Reading(
        stored=frozenset[TensorInfo]().union(*(each.stored for each in found)),
        computed=sum(each.computed for each in found),
        jobs=tuple(job for each in found for job in each.jobs),
    )


def _computed(parts: Iterable[Reading], result: TensorInfo) -> Reading:
    whole = _together(parts)
    return Reading(stored=whole.stored, computed=whole.computed + result.n_bytes, jobs=whole.jobs)
