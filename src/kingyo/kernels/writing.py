"""Write results into their places: one alone, or many of a model together, on all threads.

Python prepares a write, and compiled code then computes it without the interpreter's lock: many small tensors
in one call. The bits do not depend on the division of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import BLOCK, LINE, Span, all_finite, spans
from kingyo.kernels.lazy import Lazy
from kingyo.kernels.loop_arguments import LoopCall, has_nan, overflows
from kingyo.kernels.loop_text import PER_SOURCE, SHARED
from kingyo.kernels.raw_tensor import AnyTensor, as_torch, letter_of
from kingyo.kernels.rescaled_sum import RescaledSum
from kingyo.kernels.statistics import rescaling_factor, rounder
from kingyo.kernels.task_queue import LoopTask, Outcomes, TaskQueue, prepare_sums, prepare_writes
from kingyo.kernels.threads import compiled_loop, current_execution
from kingyo.kernels.weighted_sum import WeightedSum

_BLOCK_ON_DEVICE = 1 << 22
"""Entries that another device computes at a time."""


class KeptSums(NamedTuple):
    """Sums of kept magnitudes that must be known before a ``RescaledSum`` is written.

    Attributes:
        calls: loops over the rescaled terms.
        totals: Σ|δ| of each.
        places: places of their factors in the numbers.
        numbers: the numbers of the loops that write the weighted sum, which are rescaled.
    """

    calls: Sequence[LoopCall]
    totals: tuple[float, ...]
    places: tuple[int, ...]
    numbers: Sequence[list[float]]

    def rescale(self, kept: Sequence[float]) -> None:
        """Rescale the factors, given the kept magnitudes."""
        for total, place, part in zip(self.totals, self.places, kept, strict=True):
            for numbers in self.numbers:
                numbers[place] *= rescaling_factor(total, part)


@dataclass(frozen=True, kw_only=True)
class PendingWrite:
    """A span of a result that is ready to be computed into its place.

    Attributes:
        result: result of a merge method.
        span: range of entries.
        out: place of these entries: contiguous; results are rounded to its dtype.
        calls: loops that compute it; None leaves it to torch.
        sums: sums needed first. They rescale numbers of ``calls``, so it can be computed only once.
    """

    result: Tensor | Lazy
    span: Span
    out: AnyTensor
    calls: Sequence[LoopCall] | None = None
    sums: KeptSums | None = None

    def run(self) -> bool:
        """Compute it; return whether all entries are finite."""
        return ParallelWrites([self]).finish()[0]

    def run_by_torch(self) -> bool:
        """Compute it with torch; return whether all entries are finite."""
        finite, out = True, as_torch(self.out).view(-1)
        size = BLOCK if out.is_cpu or not isinstance(self.result, WeightedSum) else _BLOCK_ON_DEVICE
        for start, stop in spans(self.span[1] - self.span[0], size):
            part = out[start:stop].copy_(self._block((self.span[0] + start, self.span[0] + stop)))
            finite = finite and all_finite(part)
        return finite

    def _block(self, span: Span) -> Tensor:
        if isinstance(self.result, torch.Tensor):
            return self.result.reshape(-1)[span[0] : span[1]]
        block = self.result.block(span)
        if block.numel() != span[1] - span[0]:
            raise ValueError(f"a block of {block.numel()} numbers for the span {span}")
        return block.reshape(-1)


class ParallelWrites:
    """Writes that all threads compute together; other threads start at once.

    Args:
        writes: the writes; those without loops are left to the caller.
        others_alone: other threads compute them by few calls while the caller prepares the next writes, since
            they wait for the interpreter's lock between calls.
    """

    def __init__(self, writes: Sequence[PendingWrite], *, others_alone: bool = False) -> None:
        self._writes = writes
        self._sums = [write.sums for write in writes if write.sums is not None]
        if self._sums:
            self._queue = TaskQueue(self._sum_tasks(), prepare_sums, others_alone=others_alone)
        else:
            self._queue = TaskQueue(self._write_tasks(), prepare_writes, others_alone=others_alone)

    def _sum_tasks(self) -> list[LoopTask]:
        tasks: list[LoopTask] = []
        owner = 0
        for sums in self._sums:
            rounders = tuple(map(rounder, sums.totals))
            tasks += [LoopTask(owner, call.span, call, rounders) for call in sums.calls]
            owner += len(rounders)
        return tasks

    def _write_tasks(self) -> list[LoopTask]:
        return [
            LoopTask(i, call.span, call) for i, write in enumerate(self._writes) for call in write.calls or ()
        ]

    def stop(self) -> None:
        """Start no more work; threads finish their current share."""
        self._queue.stop()

    def finish(self) -> list[bool]:
        """Compute what is left; return for each write whether all entries are finite."""
        if self._sums:
            kept = [0.0] * sum(len(sums.totals) for sums in self._sums)
            for owner, part in self._queue.finish():
                kept[owner] += part  # exact, in any order
            for sums in self._sums:
                n = len(sums.totals)
                sums.rescale(kept[:n])
                del kept[:n]
            self._queue = TaskQueue(self._write_tasks(), prepare_writes)
        return _finite(self._writes, self._queue.finish())


def _finite(writes: Sequence[PendingWrite], outcomes: Outcomes) -> list[bool]:
    """Return for each write whether it is finite; torch computes those without loops or with NaN."""
    largest = [0] * len(writes)
    for i, bits in outcomes:
        if bits > largest[i]:
            largest[i] = int(bits)
    return [
        write.run_by_torch() if write.calls is None or has_nan(bits) else not overflows(bits, write.out.dtype)
        for write, bits in zip(writes, largest, strict=True)
    ]


def prepare(result: Tensor | Lazy, span: Span, out: AnyTensor) -> PendingWrite:
    """Prepare the write of a span of a result, and compute nothing yet.

    Args:
        result: result of a merge method.
        span: range of entries.
        out: place of these entries.
    """
    by_torch, now = PendingWrite(result=result, span=span, out=out), current_execution()
    letter = letter_of(out.dtype) if out.is_cpu else None
    if letter is None or not now.compiled:
        return by_torch
    weighted, sums_first = result, False
    if isinstance(result, RescaledSum):
        sums_first = span == (0, result.unscaled.n_elements) and result.is_finite
        weighted = result.unscaled if sums_first else result.rescaled
    if not isinstance(weighted, WeightedSum):
        return by_torch
    first = out.data_ptr() - span[0] * out.element_size()
    loop = compiled_loop(weighted, letter, bypass_caches=now.bypass_caches and first % LINE == 0)
    if loop is None:
        return by_torch
    calls = loop.calls(span, first)
    sums = _kept_sums(result, calls) if isinstance(result, RescaledSum) and sums_first else None
    return replace(by_torch, calls=calls, sums=sums)


def _kept_sums(result: RescaledSum, calls: Sequence[LoopCall]) -> KeptSums:
    """Return the sums that rescale the factors of the calls."""
    unscaled = result.unscaled
    rescaled = [(k, total) for k, total in enumerate(result.magnitudes) if total is not None]
    terms = tuple(unscaled.terms[k] for k, _ in rescaled)
    loop = compiled_loop(replace(unscaled, terms=terms), result="rows")
    assert loop is not None, "the sum of all terms has a loop"
    return KeptSums(
        calls=loop.calls((0, unscaled.n_elements)),
        totals=tuple(total for _, total in rescaled),
        places=tuple(SHARED + PER_SOURCE * k for k, _ in rescaled),
        numbers=[call.arguments.numbers for call in calls],
    )


def write(result: Tensor | Lazy, span: Span, out: AnyTensor) -> bool:
    """Compute a span of a result into its place; return whether all entries are finite."""
    return prepare(result, span, out).run()
