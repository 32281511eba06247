"""Estimate what a merge takes: bytes read and written, room on the disk, memory. Only headers are read.

Bytes are exact. Memory is a formula for the peak of the resident size: the program, the small tensors, which
are kept, the sources of the largest tensor, and what the method holds beside them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.checkpoint import KEPT_BELOW
from kingyo.engine import Plan, TensorJob
from kingyo.engine.execute import LARGE, PART, is_described
from kingyo.kernels.threads import has_compiler, n_threads
from kingyo.merging.checks import existing_parent
from kingyo.merging.survey import Preflight
from kingyo.methods import bytes_per_entry, reproduces

PROGRAM, PROGRAM_WITH_TORCH = 200_000_000, 330_000_000
"""Bytes of the process before it reads a tensor, measured on x86-64 Linux."""
_FLOAT32, _FLOAT64 = 4, 8


@dataclass(frozen=True, kw_only=True)
class MergeForecast:
    """What a merge takes, in bytes.

    Attributes:
        read: of tensors in the files of sources, each counted once.
        files: how many files these are.
        written: of the new files of weights.
        free: on the disk of the output.
        memory: at the peak, by what holds it.
    """

    read: int
    files: int
    written: int
    free: int
    memory: Mapping[str, int]

    @property
    def peak(self) -> int:
        """Bytes of memory at the peak."""
        return sum(self.memory.values())


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading a tensor takes: the tensors in files, and bytes of memory for what is computed of them."""

    stored: frozenset[TensorInfo]
    computed: int = 0


_Work: TypeAlias = tuple[TensorJob, Reading]


def estimate(survey: Preflight) -> MergeForecast:
    """Estimate what all targets of a survey take together."""
    works = [(job, reading_of(target.plan, job)) for target in survey.targets for job in target.plan.jobs]
    stored = frozenset[TensorInfo]().union(*(reading.stored for _, reading in works))
    return MergeForecast(
        read=sum(info.n_bytes for info in stored),
        files=len({info.file for info in stored}),
        written=sum(target.n_bytes for target in survey.targets),
        free=shutil.disk_usage(existing_parent(survey.request.out)).free,
        memory={
            "program": PROGRAM_WITH_TORCH if _needs_torch(survey, works) else PROGRAM,
            "small tensors": sum(info.n_bytes for info in stored if info.n_bytes < KEPT_BELOW),
            **_of_tensors(works, survey.request.options.threads or n_threads()),
        },
    )


def reading_of(plan: Plan, job: TensorJob) -> Reading:
    """Return what a job reads."""
    each_once = dict.fromkeys((each.reference, each.tensor) for each in job.reads)
    return _together(_reading(plan.sources[reference], tensor) for reference, tensor in each_once)


def _reading(model: Checkpoint, name: str) -> Reading:
    needs = model.needs(name)
    parts = [_reading(*each) for each in needs.others]
    if needs.stored:
        parts.append(Reading(stored=frozenset(needs.stored)))
    if len(parts) == 1:
        return parts[0]
    inner, result = _together(parts), model.tensors[model.home(name) or name]
    return Reading(stored=inner.stored, computed=inner.computed + result.n_bytes)


def _together(readings: Iterable[Reading]) -> Reading:
    each_once = tuple(readings)
    return Reading(
        stored=frozenset[TensorInfo]().union(*(each.stored for each in each_once)),
        computed=sum(each.computed for each in each_once),
    )


def _of_tensors(works: Sequence[_Work], threads: int) -> dict[str, int]:
    """Return the larger of what the largest tensor takes, and as many small ones as there are threads."""
    large, small = [(0, 0)], list[tuple[int, int]]()
    for job, reading in works:
        is_large = math.prod(job.shape) >= LARGE
        (large if is_large else small).append((_mapped(reading), _held(job, threads if is_large else 1)))
    side_by_side = sorted(small, key=sum)[-threads:]
    beside = sum(mapped for mapped, _ in side_by_side), sum(held for _, held in side_by_side)
    sources, method = max(*large, beside, key=sum)
    return {"sources": sources, "method": method}


def _needs_torch(survey: Preflight, works: Sequence[_Work]) -> bool:
    """Return whether the merge imports torch: compiled code does all where it can."""
    is_aligned = any(target.plan.vocabulary is not None for target in survey.targets)
    is_computed = any(reading.computed or not is_described(job) for job, reading in works)
    return is_aligned or is_computed or not has_compiler()


def _mapped(reading: Reading) -> int:
    """Bytes of large tensors in files, and of what is computed of any."""
    return reading.computed + sum(info.n_bytes for info in reading.stored if info.n_bytes >= KEPT_BELOW)


def _held(job: TensorJob, threads: int) -> int:
    """Bytes that the method holds beside the sources of a tensor."""
    n, k = math.prod(job.shape), len(job.inputs)
    if job.method is None or is_described(job):  # float32 parts of the sources and of the result
        ranks = 0 if job.method is None else bytes_per_entry(job.method) * n * k
        return threads * min(n, PART) * (k + 1) * _FLOAT32 + ranks
    if reproduces(job.method) == "with as many threads" and _is_decomposed(job.shape, k):
        return n * (2 * k + 1) * _FLOAT64  # task vectors, their singular vectors, and the result
    return n * k * _FLOAT32


def _is_decomposed(shape: Sequence[int], n_sources: int) -> bool:
    """Whether a method by singular values decomposes the matrix itself; see ``methods.spectral``."""
    return len(shape) == 2 and max(shape) <= 2 * n_sources * min(shape)
