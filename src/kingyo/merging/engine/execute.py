"""Run the jobs of a plan on all cores: large tensors by spans, small ones side by side.

A function takes the results. The bits depend neither on the order of work nor on
the number of threads, except for methods that state otherwise (``methods.reproduces``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import local
from typing import cast

from kingyo.core.io.lazy_torch import Tensor, is_loaded, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.writer import MAX_SHARD_BYTES
from kingyo.merging.engine.jobs import TensorJob, method_failed, not_finite, result
from kingyo.merging.engine.sources import Sources
from kingyo.merging.kernels import Lazy
from kingyo.merging.kernels.blocks import Span, spans
from kingyo.merging.kernels.loops import MAX_SOURCES
from kingyo.merging.kernels.machine_code import is_used
from kingyo.merging.kernels.raw_tensor import AnyTensor, empty_vector
from kingyo.merging.kernels.threads import Execution, execution, has_compiler, map_spans, n_threads, next_of
from kingyo.merging.kernels.writing import ParallelWrites, PendingWrite, write
from kingyo.merging.methods import describes

MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Options of a merge. A live model needs ``threads``, ``compiled`` and ``allow_nonfinite`` only.

    Attributes:
        seed: seed of random methods; overrides the recipe.
        max_shard_bytes: the largest size of a weight file.
        threads: number of threads. Default: all cores.
        compiled: use compiled loops; None uses them where they save time, and always for live models.
        force: replace the output folder and everything in it.
        allow_nonfinite: merge even if weights are NaN or infinite.
        copy_code: copy the Python files of the models. They are not run.
        ignore_licences: merge even if the licences of the models forbid it.
        component: if the recipe names diffusers pipelines: merge this component of them, such as unet.
        pipeline: write the full diffusers pipeline around the merged component, not only the component.
        single_file: also write a diffusion model as one .safetensors in the layout of its original code.
        allow_pickle: read weights that exist only as pickles. Code in a pickle is never run.
    """

    seed: int | None = None
    max_shard_bytes: int = MAX_SHARD_BYTES
    threads: int | None = None
    compiled: bool | None = None
    force: bool = False
    allow_nonfinite: bool = False
    copy_code: bool = False
    ignore_licences: bool = False
    component: str | None = None
    pipeline: bool = False
    single_file: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        for key, least, most in (("seed", 0, math.inf), ("threads", 1, MAX_THREADS)):
            value = cast(object, getattr(self, key))
            if value is not None and (type(value) is not int or not least <= value <= most):
                up_to = "" if most == math.inf else f" and at most {most}"
                expected = f"a whole number of at least {least}{up_to}"
                remedy = f"Set {key} to such a number, or leave it out."
                raise KingyoError(key, expected, repr(value)[:80], remedy)


LARGE = 1 << 22  # elements; larger tensors are divided between threads
_COMPILE_FROM = 1 << 24  # elements of all jobs; for fewer, loading compiled code takes longer than the merge
_HELD = 1 << 29  # bytes held for results until they are computed; twice as many while other threads compute
_PORTION = 0.15  # fraction of all elements that is prepared before other threads compute it
_BYPASS_FROM = 1 << 24  # elements; results of this size exceed the caches and are written past them
PART = 1 << 20  # elements that a thread computes before it passes them to the sink
Prepared = tuple[PendingWrite, int]
"""A write, and the bytes that it holds until it is computed."""
Take = Callable[[TensorJob, int, AnyTensor], None]
"""Takes the next numbers of a result, from this element on; several threads call it."""


def execute(
    jobs: Sequence[TensorJob],
    sources: Sources,
    take: Take,
    broken: Callable[[TensorJob], None],
    options: MergeOptions,
) -> None:
    """Run jobs; their tensors are computed in parts.

    ``broken`` is called for each result that is NaN or infinite, if that is allowed.

    Raises:
        KingyoError: see ``compute``. Jobs before it are done, others may be.
    """
    threads = options.threads or n_threads()
    buffers, nonfinite = _Buffers(), options.allow_nonfinite

    def write_part(job: TensorJob, merged: Tensor | Lazy, span: Span) -> bool:
        finite = True
        for start, stop in spans(span[1] - span[0], PART):
            place = buffers.get(stop - start, job.dtype)
            try:
                finite = write(merged, (span[0] + start, span[0] + stop), place) and finite
            except Exception as error:  # noqa: BLE001 - raised again with the method's name
                method_failed(job, error)
            if not finite and not nonfinite:
                break
            take(job, span[0] + start, place)
        return finite

    with _no_grad(), execution(compiled=_compiles(jobs, options), threads=threads) as here:

        def run(job: TensorJob) -> None:
            read = sources.read_raw if here.compiled and is_described(job) else sources.read
            merged = result(job, read, nonfinite=nonfinite)
            if all(map_spans(_size(job), lambda span: write_part(job, merged, span))):
                return
            if not nonfinite:
                raise not_finite(job, sources.read)
            broken(job)

        for group in _groups(jobs):
            if len(group) == 1:
                run(group[0])
            else:
                _side_by_side(group, here, run)


class _Buffers(local):
    """A vector for each thread, reused from one part to the next."""

    dtype = ""
    vector: AnyTensor | None = None

    def get(self, n: int, dtype: str) -> AnyTensor:
        if self.vector is None or self.dtype != dtype or self.vector.numel() < n:
            self.dtype, self.vector = dtype, empty_vector(n, dtype)
        return self.vector[:n]


def _no_grad() -> AbstractContextManager[object]:
    """Without torch there are no gradients."""
    return torch.no_grad() if is_loaded() else nullcontext()


def is_described(job: TensorJob) -> bool:
    """Return whether a job's method describes its result, and a compiled loop can compute it."""
    return job.method is not None and len(job.inputs) <= MAX_SOURCES and describes(job.method)


def _compiles(jobs: Sequence[TensorJob], options: MergeOptions) -> bool:
    if options.compiled is not None:
        return options.compiled and has_compiler()
    if is_used() or sum(map(_size, jobs)) >= _COMPILE_FROM:
        return has_compiler()
    # the import of torch takes longer than that of the loops
    return not is_loaded() and all(map(is_described, jobs)) and has_compiler()


def fill(
    jobs: Sequence[TensorJob],
    prepare: Callable[[TensorJob], Prepared],
    end: Callable[[TensorJob, PendingWrite, bool], None],
    options: MergeOptions,
) -> None:
    """Run jobs into existing memory, each tensor at once.

    Python prepares many tensors before they are computed, because both together evict each other from the
    caches. Other threads compute one part while the caller prepares the next. All compute the last part.
    ``end`` is called with each finished job, and with whether all its elements are finite.
    """
    threads = options.threads or n_threads()
    batches = _Batches(end)
    held, ready = 0, 0
    total = sum(map(_size, jobs))
    enough = _PORTION * total if threads > 1 else math.inf
    bypasses, compiled = total >= _BYPASS_FROM, _compiles(jobs, options)
    with _no_grad(), execution(compiled=compiled, threads=threads, bypass_caches=bypasses):
        try:
            for job in jobs:
                pending, n_bytes = prepare(job)
                batches.add(job, pending)
                held, ready = held + n_bytes, ready + _size(job)
                is_full = held >= _HELD
                if is_full:
                    batches.finish()
                if is_full or (ready >= enough and batches.others_are_done):
                    batches.begin(others_alone=True)
                    ready = 0
                if is_full:
                    if threads == 1:
                        batches.finish()  # with more threads, others compute while the next are prepared
                    held = 0
            batches.begin()
            batches.finish()
        except BaseException:
            batches.stop()
            raise


class _Batches:
    def __init__(self, end: Callable[[TensorJob, PendingWrite, bool], None]) -> None:
        self._end = end
        self._ready: list[tuple[TensorJob, PendingWrite]] = []
        self._begun: list[tuple[Sequence[tuple[TensorJob, PendingWrite]], ParallelWrites]] = []

    @property
    def others_are_done(self) -> bool:
        return all(writes.others_are_done for _, writes in self._begun)

    def add(self, job: TensorJob, pending: PendingWrite) -> None:
        self._ready.append((job, pending))

    def begin(self, *, others_alone: bool = False) -> None:
        writes = [pending for _, pending in self._ready]
        self._begun.append((self._ready, ParallelWrites(writes, others_alone=others_alone)))
        self._ready = []

    def finish(self) -> None:
        """Compute what was started, the last batch first: other threads may be busy with earlier ones."""
        while self._begun:
            done, writes = self._begun.pop()
            for (job, pending), is_finite in zip(done, writes.finish(), strict=True):
                self._end(job, pending, is_finite)

    def stop(self) -> None:
        for _, writes in self._begun:
            writes.stop()


def _side_by_side(jobs: Sequence[TensorJob], here: Execution, run: Callable[[TensorJob], None]) -> None:
    left = deque(jobs)

    def run_jobs() -> None:
        try:
            with execution(compiled=here.compiled):
                while (job := next_of(left)) is not None:
                    run(job)
        except BaseException:
            left.clear()
            raise

    here.on_all_threads(run_jobs)


def _groups(jobs: Sequence[TensorJob]) -> Iterator[list[TensorJob]]:
    group: list[TensorJob] = []
    filled = 0
    for job in jobs:
        size = _size(job)
        if group and (size >= LARGE or filled >= 2 * LARGE):
            yield group
            group, filled = [], 0
        group.append(job)
        filled += size
        if size >= LARGE:
            yield group
            group, filled = [], 0
    if group:
        yield group


def _size(job: TensorJob) -> int:
    return math.prod(job.shape)
