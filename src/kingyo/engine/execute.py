"""Running the jobs of a plan on all cores: large tensors by spans, small ones side by side.

It knows no files and no models: a sink says where numbers go. Neither the order of work nor the number of
threads changes a bit, but for methods that say so (``methods.reproduces``).
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from kingyo.engine.compute import Read, method_failed, not_finite, result
from kingyo.engine.plan import TensorJob
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, is_loaded, torch
from kingyo.kernels import Lazy, RescaledSum
from kingyo.kernels.blocks import Span, spans
from kingyo.kernels.packed import MOST_SOURCES
from kingyo.kernels.passes import Running, by_spans, has_compiler, n_threads, running
from kingyo.kernels.work import Filling, Work, write
from kingyo.methods import hands_on

LARGE = 1 << 22  # elements; from here on a tensor is split between the threads
_COMPILE_FROM = 1 << 24  # elements in all; below, loading the compiled code takes longer than the merge
_HELD = 1 << 29  # bytes that may be computed for results before these are, in place; twice while others do
_FIRST = 0.15  # the part of all elements that is prepared before the first are computed, where others help
_PAST = 1 << 24  # elements; as many results are more than the caches hold, and are written past them
PART = 1 << 20  # elements that a thread computes before it hands them over


Prepared = tuple[Filling, int]
"""What is to be computed, and how many bytes it holds until then."""


class Sink(Protocol):
    """Where results go; several threads use it."""

    def place(self, job: TensorJob, span: Span) -> Tensor:
        """A contiguous vector in the job's dtype for the elements of a span."""
        ...

    def take(self, job: TensorJob, span: Span, numbers: Tensor) -> None:
        """Take the vector that ``place`` gave, now filled."""
        ...

    def broken(self, job: TensorJob) -> None:
        """Something that the job gave is NaN or infinite, which is allowed."""
        ...


@dataclass(frozen=True, kw_only=True)
class How:
    """How jobs run.

    Attributes:
        threads: how many; as many as torch uses when None.
        compiled: by compiled code; when None where it pays, and for live models always.
        nonfinite: whether results may be NaN or infinite.
    """

    threads: int | None = None
    compiled: bool | None = None
    nonfinite: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise KingyoError(
                "threads",
                expected="a number from 1 on",
                received=str(self.threads),
                remedy="Leave it out for as many as torch uses.",
            )


def execute(
    jobs: Sequence[TensorJob], read: Read, sink: Sink, how: How | None = None, raw: Read | None = None
) -> None:
    """Run jobs, part after part of their tensors.

    Args:
        jobs: what is computed.
        read: reads tensors.
        sink: where results go.
        how: threads and the like.
        raw: reads tensors for jobs that only hand them on to compiled passes; as ``read`` when None.

    Raises:
        KingyoError: see ``compute``; jobs before it are done, others may be.
    """
    chosen = how or How()
    threads = chosen.threads or n_threads()
    with _no_grad(), running(compiled=compiles(jobs, chosen), threads=threads) as here:

        def run(job: TensorJob) -> None:
            found = raw if raw is not None and here.compiled and is_handed_on(job) else read
            _run(job, result(job, found, nonfinite=chosen.nonfinite), sink, chosen, read)

        for group in _groups(jobs):
            if len(group) == 1:
                run(group[0])
            else:
                _side_by_side(group, here, run)


def _no_grad() -> AbstractContextManager[object]:
    """Without torch there is no gradient to record."""
    return torch.no_grad() if is_loaded() else nullcontext()


def is_handed_on(job: TensorJob) -> bool:
    """Whether no tensor of a job is computed with, but by compiled passes, if they run."""
    n_inputs = len(job.inputs)
    return job.method is not None and n_inputs <= MOST_SOURCES and hands_on(job.method, job.values)


def compiles(jobs: Sequence[TensorJob], how: How) -> bool:
    """Whether jobs run by compiled code."""
    if how.compiled is not None:
        return how.compiled and has_compiler()
    if "kingyo.kernels.fused" in sys.modules or sum(map(_size, jobs)) >= _COMPILE_FROM:
        return has_compiler()
    # to import torch takes longer
    return not is_loaded() and all(map(is_handed_on, jobs)) and has_compiler()


def fill(
    jobs: Sequence[TensorJob],
    prepared: Callable[[TensorJob], Prepared],
    end: Callable[[TensorJob, Filling, bool], None],
    how: How | None = None,
) -> None:
    """Run jobs, whole tensors at once, into memory that is there.

    First comes Python's work for many tensors, then the memory's, which would drive it out of the caches.
    Other threads begin with a first part of them, while the rest is prepared.

    Args:
        jobs: what is computed.
        prepared: makes a job ready to be computed into its place; says how many bytes it holds until then.
        end: is called with each job when it is done; it is told whether all is finite.
        how: threads and the like.
    """
    chosen = how or How()
    threads = chosen.threads or n_threads()
    batches = _Batches(end)
    held, seen = 0, 0
    total = sum(map(_size, jobs))
    first = _FIRST * total if threads > 1 else math.inf
    with (
        _no_grad(),
        running(compiled=compiles(jobs, chosen), threads=threads, past=total >= _PAST, keep=True),
    ):
        try:
            for job in jobs:
                filling, n_bytes = prepared(job)
                batches.add(job, filling)
                held, seen = held + n_bytes, seen + _size(job)
                if held >= _HELD or seen >= first:
                    batches.finish()
                    batches.begin(others_alone=seen >= first)
                    if threads == 1:
                        batches.finish()  # else others are at it while the next is prepared
                    held = 0
                    if seen >= first:
                        first = math.inf  # only the first batch is left to others
            batches.begin()
            batches.finish()
        except BaseException:
            batches.stop()
            raise


class _Batches:
    """Fillings that are computed together, batch after batch.

    Args:
        end: see ``fill``.
    """

    def __init__(self, end: Callable[[TensorJob, Filling, bool], None]) -> None:
        self._end = end
        self._ready: list[tuple[TensorJob, Filling]] = []
        self._begun: list[tuple[Sequence[tuple[TensorJob, Filling]], Work]] = []

    def add(self, job: TensorJob, filling: Filling) -> None:
        """Add to the next batch."""
        self._ready.append((job, filling))

    def begin(self, *, others_alone: bool = False) -> None:
        """Begin with what was added; see ``Work``."""
        fillings = [filling for _, filling in self._ready]
        self._begun.append((self._ready, Work(fillings, others_alone=others_alone)))
        self._ready = []

    def finish(self) -> None:
        """Compute what was begun, the last batch first: of that before it others may still be at work."""
        while self._begun:
            done, work = self._begun.pop()
            for (job, filling), is_finite in zip(done, work.end(), strict=True):
                self._end(job, filling, is_finite)

    def stop(self) -> None:
        """Begin nothing more."""
        for _, work in self._begun:
            work.stop()


def _side_by_side(jobs: Sequence[TensorJob], here: Running, run: Callable[[TensorJob], None]) -> None:
    left = deque(jobs)

    def take() -> None:
        try:
            with running(compiled=here.compiled):
                while (job := _next(left)) is not None:
                    run(job)
        except BaseException:
            left.clear()
            raise

    here.together(take)


def _next(jobs: deque[TensorJob]) -> TensorJob | None:
    try:
        return jobs.popleft()
    except IndexError:
        return None


def _groups(jobs: Sequence[TensorJob]) -> Iterator[list[TensorJob]]:
    """Runs of small tensors, and large ones alone."""
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


def _run(job: TensorJob, merged: Tensor | Lazy, sink: Sink, how: How, read: Read) -> None:
    if isinstance(merged, RescaledSum):
        merged = merged.decided  # once, before threads ask for parts

    def write_part(span: Span) -> bool:
        finite = True
        for start, stop in spans(span[1] - span[0], PART):
            part = span[0] + start, span[0] + stop
            place = sink.place(job, part)
            finite = _write(job, merged, part, place) and finite
            if not finite and not how.nonfinite:
                break
            sink.take(job, part, place)
        return finite

    if all(by_spans(_size(job), write_part)):
        return
    if not how.nonfinite:
        raise not_finite(job, read)
    sink.broken(job)


def _write(job: TensorJob, merged: Tensor | Lazy, part: Span, place: Tensor) -> bool:
    try:
        return write(merged, part, place)
    except Exception as error:  # noqa: BLE001 - it raises, clearly
        method_failed(job, error)
