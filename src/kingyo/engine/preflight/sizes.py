"""Estimate bytes read and written, disk space and memory of a merge, from headers alone.

Bytes are exact. Memory is a formula for the largest resident size: the program, the small tensors, which are
cached, the sources of the largest tensor, and what the method computes beside them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.checkpoint import KEPT_BELOW
from kingyo.engine.execute import LARGE, PART, is_described
from kingyo.engine.jobs import TensorJob
from kingyo.engine.plan import Plan
from kingyo.engine.preflight.folder import existing_parent
from kingyo.engine.preflight.merge import Preflight
from kingyo.kernels.threads import has_compiler, n_threads
from kingyo.methods import bytes_per_entry, reproduces

PROGRAM, PROGRAM_WITH_TORCH = 200_000_000, 330_000_000
"""Bytes of the process before it reads a tensor, measured on x86-64 Linux."""
_FLOAT32, _FLOAT64 = 4, 8


@dataclass(frozen=True, kw_only=True)
class MergeForecast:
    """What a merge needs, in bytes.

    Attributes:
        read: size of the tensors in source files, each counted once.
        files: number of these files.
        written: size of the new weight files.
        free: free space on the disk of the output.
        memory: the largest memory use, by purpose.
    """

    read: int
    files: int
    written: int
    free: int
    memory: Mapping[str, int]

    @property
    def peak(self) -> int:
        """The largest memory use in total."""
        return sum(self.memory.values())


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading a tensor needs.

    Attributes:
        stored: the tensors in files.
        computed: bytes of memory for tensors that are computed from them.
    """

    stored: frozenset[TensorInfo]
    computed: int = 0


_Work: TypeAlias = tuple[TensorJob, Reading]


def estimate(preflight: Preflight) -> MergeForecast:
    """Estimate what all outputs of a merge need together."""
    works = [(job, reading_of(target.plan, job)) for target in preflight.targets for job in target.plan.jobs]
    stored = frozenset[TensorInfo]().union(*(reading.stored for _, reading in works))
    return MergeForecast(
        read=sum(info.n_bytes for info in stored),
        files=len({info.file for info in stored}),
        written=sum(target.n_bytes for target in preflight.targets),
        free=shutil.disk_usage(existing_parent(preflight.request.out)).free,
        memory={
            "program": PROGRAM_WITH_TORCH if _needs_torch(preflight, works) else PROGRAM,
            "small tensors": sum(info.n_bytes for info in stored if info.n_bytes < KEPT_BELOW),
            **_of_tensors(works, preflight.request.options.threads or n_threads()),
        },
    )


def reading_of(plan: Plan, job: TensorJob) -> Reading:
    """Return what a job reads."""
    inputs = dict.fromkeys((each.reference, each.tensor) for each in job.reads)
    return _joined(_reading(plan.sources[reference], tensor) for reference, tensor in inputs)


def _reading(model: Checkpoint, name: str) -> Reading:
    needs = model.needs(name)
    parts = [_reading(*each) for each in needs.others]
    if needs.stored:
        parts.append(Reading(stored=frozenset(needs.stored)))
    if len(parts) == 1:
        return parts[0]
    inputs, result = _joined(parts), model.tensors[model.home(name) or name]
    return Reading(stored=inputs.stored, computed=inputs.computed + result.n_bytes)


def _joined(readings: Iterable[Reading]) -> Reading:
    parts = tuple(readings)
    return Reading(
        stored=frozenset[TensorInfo]().union(*(each.stored for each in parts)),
        computed=sum(each.computed for each in parts),
    )


def _of_tensors(works: Sequence[_Work], threads: int) -> dict[str, int]:
    """Return the memory for the largest tensor, or for small ones on all threads if that is more."""
    large, small = [(0, 0)], list[tuple[int, int]]()
    for job, reading in works:
        is_large = math.prod(job.shape) >= LARGE
        (large if is_large else small).append((_sources(reading), _method(job, threads if is_large else 1)))
    parallel = sorted(small, key=sum)[-threads:]
    sources, method = max(
        *large, (sum(each for each, _ in parallel), sum(each for _, each in parallel)), key=sum
    )
    return {"sources": sources, "method": method}


def _needs_torch(preflight: Preflight, works: Sequence[_Work]) -> bool:
    """Return whether the merge imports torch, which it does unless compiled code can do everything."""
    is_aligned = any(target.plan.vocabulary is not None for target in preflight.targets)
    is_computed = any(reading.computed or not is_described(job) for job, reading in works)
    return is_aligned or is_computed or not has_compiler()


def _sources(reading: Reading) -> int:
    """Return the bytes of large tensors in files, and of all computed ones."""
    return reading.computed + sum(info.n_bytes for info in reading.stored if info.n_bytes >= KEPT_BELOW)


def _method(job: TensorJob, threads: int) -> int:
    """Return the bytes that the method needs in addition to the sources of a tensor."""
    n, k = math.prod(job.shape), len(job.inputs)
    if job.method is None or is_described(job):  # float32 parts of the sources and of the result
        ranks = 0 if job.method is None else bytes_per_entry(job.method) * n * k
        return threads * min(n, PART) * (k + 1) * _FLOAT32 + ranks
    if reproduces(job.method) == "with the same number of threads" and _is_decomposed(job.shape, k):
        return n * (2 * k + 1) * _FLOAT64  # task vectors, their singular vectors, and the result
    return n * k * _FLOAT32


def _is_decomposed(shape: Sequence[int], n_sources: int) -> bool:
    """Return whether a spectral method decomposes the matrix itself; see ``methods.spectral``."""
    return len(shape) == 2 and max(shape) <= 2 * n_sources * min(shape)
