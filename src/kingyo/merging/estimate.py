"""What a merge will take: bytes read and written, memory, time. Nothing of a model but headers is read.

Bytes read and written are exact. Time and memory follow from runs of the method and a try of the disk, here
and now; where these cannot be had, and for what is merely copied, from constants that are guesses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.checkpoints import TensorInfo
from kingyo.checkpoints.checkpoint import KEPT_BELOW
from kingyo.engine import How, Plan, TensorJob
from kingyo.engine.execute import LARGE, compiles
from kingyo.errors import KingyoError
from kingyo.kernels.passes import n_threads
from kingyo.merging.checks import existing_parent
from kingyo.merging.machine import Disk, cached, try_disk
from kingyo.merging.reads import Reading, reading_of
from kingyo.merging.samples import Cost, measure, resident
from kingyo.merging.survey import Survey

_MOST_SAMPLES = 3
_PROGRAM = 400 << 20  # bytes that the program takes where the system does not tell
_COPY = Cost(size=1 << 20, seconds=1e-3)
"""Tensors that are taken as they are: a guess, 1 ns a number."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a merge will take.

    Attributes:
        read: bytes of tensors in the files of sources, each counted once.
        files: of sources that are read.
        cached: how many of these bytes are in memory already, at most: the system tells it of whole files.
        written: bytes of the files of weights.
        memory: bytes at once, by what needs them.
        seconds: by what needs them; None when the method cannot be tried.
        trouble: why it cannot.
        disk: where the result goes.
    """

    read: int
    files: int
    cached: int
    written: int
    memory: Mapping[str, int]
    seconds: Mapping[str, float] | None
    disk: Disk
    trouble: str | None = None

    @property
    def peak(self) -> int:
        """Bytes of memory at once."""
        return sum(self.memory.values())

    @property
    def total_seconds(self) -> float | None:
        """Seconds from start to end."""
        return None if self.seconds is None else sum(self.seconds.values())


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A job and what it reads."""

    plan: Plan
    job: TensorJob
    reading: Reading

    @property
    def size(self) -> int:
        return math.prod(self.job.shape)

    @property
    def kind(self) -> tuple[object, ...]:
        """Jobs of one kind cost the same for each element."""
        return (self.job.method is None, len(self.job.inputs), self.job.base is None, len(self.job.shape) > 1)

    @property
    def dtypes(self) -> list[str]:
        return [self.plan.sources[each.reference].tensors[each.tensor].dtype for each in self.job.reads]


def estimate(survey: Survey) -> Estimate:
    """Estimate what all targets of a survey take together; it takes a second or two."""
    works = [
        _Work(plan=target.plan, job=job, reading=reading_of(target.plan, job))
        for target in survey.targets
        for job in target.plan.jobs
    ]
    stored = frozenset[TensorInfo]().union(*(work.reading.stored for work in works))
    files = {info.file for info in stored}
    read, held = sum(info.n_bytes for info in stored), cached(files)
    disk = try_disk(existing_parent(survey.request.out))
    costs, trouble = _costs(works, survey.request.how)
    written = sum(target.n_bytes for target in survey.targets)
    return Estimate(
        read=read,
        files=len(files),
        cached=min(read, held),
        written=written,
        memory=_memory(works, stored, costs or {}, survey.request.how),
        seconds=None
        if costs is None
        else {
            "reading": max(0, read - held) / disk.read,
            "merging": sum(_seconds(work, costs) for work in works),
            "writing": written / disk.write,
        },
        disk=disk,
        trouble=trouble,
    )


def _costs(works: Sequence[_Work], how: How) -> tuple[dict[tuple[object, ...], Cost] | None, str | None]:
    """What jobs of each kind cost; None, and why, when the method fails on made-up tensors."""
    kinds: dict[tuple[object, ...], list[_Work]] = {}
    for work in works:
        if work.job.method is not None and work.size:
            kinds.setdefault(work.kind, []).append(work)
    chosen = How(threads=how.threads, compiled=compiles([work.job for work in works], how), nonfinite=True)
    largest = sorted(kinds, key=lambda kind: -sum(work.size for work in kinds[kind]))[:_MOST_SAMPLES]
    costs: dict[tuple[object, ...], Cost] = {}
    for kind in largest:
        work = max(kinds[kind], key=lambda each: each.size)
        try:
            costs[kind] = measure(work.job, work.dtypes, chosen)
        except Exception as error:  # noqa: BLE001 - a method of the user's own may want tensors of its own
            return None, error.received if isinstance(error, KingyoError) else str(error)
    return costs, None


def _cost(work: _Work, costs: Mapping[tuple[object, ...], Cost]) -> Cost:
    if work.job.method is None or not costs:
        return _COPY
    return costs.get(work.kind) or next(iter(costs.values()))


def _seconds(work: _Work, costs: Mapping[tuple[object, ...], Cost]) -> float:
    cost = _cost(work, costs)
    return sum(cost.time(size) for size in (work.size, *work.reading.merged))


def _memory(
    works: Sequence[_Work],
    stored: frozenset[TensorInfo],
    costs: Mapping[tuple[object, ...], Cost],
    how: How,
) -> dict[str, int]:
    threads = how.threads or n_threads()
    needs = [(work.size, work.reading, _cost(work, costs).memory(work.size)) for work in works]
    whole = max((_needed(need) for need in needs if need[0] >= LARGE), key=sum, default=(0, 0))
    small = sorted((_needed(need) for need in needs if need[0] < LARGE), key=sum)[-threads:]
    beside = sum(sources for sources, _ in small), sum(method for _, method in small)
    sources, method = max(whole, beside, key=sum)
    return {
        "program": resident() or _PROGRAM,
        "small tensors": sum(info.n_bytes for info in stored if info.n_bytes < KEPT_BELOW),
        "sources": sources,
        "method": method,
    }


def _needed(need: tuple[int, Reading, int]) -> tuple[int, int]:
    """Bytes of sources and of the method that a job needs at once."""
    _, reading, method = need
    mapped = sum(info.n_bytes for info in reading.stored if info.n_bytes >= KEPT_BELOW)
    return mapped + reading.computed, method
