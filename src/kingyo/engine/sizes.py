"""Estimate bytes read and written, disk space and memory of a merge, from headers alone.

Bytes are exact. Memory is a formula for the largest resident size: the program, the small tensors, which are
cached, the sources of the largest tensor, and what the method computes beside them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.checkpoint import KEPT_BELOW
from kingyo.engine.execute import LARGE, PART, is_described
from kingyo.engine.jobs import TensorJob
from kingyo.engine.plan import Plan
from kingyo.engine.preflight import Preflight, existing_parent
from kingyo.kernels.machine_code import has_code
from kingyo.kernels.threads import has_compiler, n_threads
from kingyo.methods import bytes_per_entry, reproduces

PROGRAM, PROGRAM_WITH_NUMBA, PROGRAM_WITH_TORCH = 100_000_000, 200_000_000, 330_000_000
"""Bytes of the process before it reads a tensor, measured on x86-64 Linux; numba compiles loops once."""
_FLOAT32, _FLOAT64 = 4, 8


@dataclass(frozen=True, kw_only=True)
class MergeForecast:
    """What a merge needs, in bytes.

    Attributes:
        read_bytes: size of the tensors in source files, each counted once.
        read_files: number of these files.
        written_bytes: size of the new weight files.
        free_bytes: free space on the disk of the output.
        peak_memory_bytes: the largest memory use.
        memory_bytes: the same by purpose.
    """

    read_bytes: int
    read_files: int
    written_bytes: int
    free_bytes: int
    peak_memory_bytes: int
    memory_bytes: Mapping[str, int]


def estimate(preflight: Preflight) -> MergeForecast:
    """Estimate what all outputs of a merge need together."""
    plans = [output.plan for output in preflight.outputs]
    works = [(plan, job, set(stored_tensors(plan, job))) for plan in plans for job in plan.jobs]
    stored = set[TensorInfo]().union(*(infos for *_, infos in works))
    threads = preflight.options.threads or n_threads()
    sources, method = max(((_sources(*each, threads), _method(each[1], threads)) for each in works), key=sum)
    memory = {
        "program": _program(plans),
        "small tensors": sum(info.n_bytes for info in stored if info.n_bytes < KEPT_BELOW),
        "sources": sources,
        "method": method,
    }
    return MergeForecast(
        read_bytes=sum(info.n_bytes for info in stored),
        read_files=len({info.file for info in stored}),
        written_bytes=sum(output.n_bytes for output in preflight.outputs),
        free_bytes=shutil.disk_usage(existing_parent(preflight.out)).free,
        peak_memory_bytes=sum(memory.values()),
        memory_bytes=memory,
    )


def stored_tensors(plan: Plan, job: TensorJob) -> Iterator[TensorInfo]:
    for each in job.reads:
        yield from _stored(plan.sources[each.reference], each.tensor)


def _stored(model: Checkpoint, name: str) -> Iterator[TensorInfo]:
    needs = model.needs(name)
    yield from needs.stored
    for other in needs.others:
        yield from _stored(*other)


def _program(plans: Iterable[Plan]) -> int:
    if any(map(_needs_torch, plans)):
        return PROGRAM_WITH_TORCH
    return PROGRAM if has_code() else PROGRAM_WITH_NUMBA


def _needs_torch(plan: Plan) -> bool:
    """Return whether a merge imports torch, which it does unless compiled code can do everything."""
    is_computed = any(plan.sources[reference].made_of for reference in plan.weights_of)
    return is_computed or not all(map(is_described, plan.jobs)) or not has_compiler()


def _side_by_side(job: TensorJob, threads: int) -> int:
    """Return how many tensors of this size are merged at a time."""
    return 1 if math.prod(job.shape) >= LARGE else threads


def _sources(plan: Plan, job: TensorJob, stored: set[TensorInfo], threads: int) -> int:
    """Return the bytes of large tensors in files, and of those that are computed from them."""
    inputs = ((plan.sources[each.reference], each.tensor) for each in job.reads)
    computed = sum(model.tensors[model.home(name) or name].n_bytes for model, name in inputs if model.made_of)
    large = sum(info.n_bytes for info in stored if info.n_bytes >= KEPT_BELOW)
    return _side_by_side(job, threads) * (computed + large)


def _method(job: TensorJob, threads: int) -> int:
    """Return the bytes that the method needs in addition to the sources of a tensor."""
    n, k = math.prod(job.shape), len(job.inputs)
    at_once = _side_by_side(job, threads)
    if job.method is None or is_described(job):  # float32 parts of the sources and of the result
        ranks = 0 if job.method is None else bytes_per_entry(job.method) * n * k
        return threads * min(n, PART) * (k + 1) * _FLOAT32 + at_once * ranks
    is_spectral = reproduces(job.method) == "with the same number of threads" and len(job.shape) == 2
    if is_spectral and max(job.shape) <= 2 * k * min(job.shape):  # see ``methods.spectral``
        return at_once * n * (2 * k + 1) * _FLOAT64  # task vectors, their singular vectors, the result
    return at_once * n * k * _FLOAT32
