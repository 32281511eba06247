"""Write results into their places: one alone, or many of a model together, on all threads.

Python prepares a write, and compiled code then computes it without the interpreter's lock: many small tensors
in one call. The bits do not depend on the division of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import BLOCK, Span, all_finite, spans
from kingyo.kernels.lazy import Lazy
from kingyo.kernels.loop_arguments import LoopCall, has_nan, overflows
from kingyo.kernels.loop_queue import LoopQueue
from kingyo.kernels.raw_tensor import AnyTensor, as_torch, letter_of
from kingyo.kernels.threads import compiled_loop, current_execution
from kingyo.kernels.weighted_sum import WeightedSum

_BLOCK_ON_DEVICE = 1 << 22
"""Entries that another device computes at a time."""
_LINE = 64
"""Bytes per cache line. Stores that bypass the caches start at a multiple of it."""


@dataclass(frozen=True, kw_only=True)
class PendingWrite:
    """A span of a result that is ready to be computed into its place.

    Attributes:
        result: result of a merge method.
        span: range of entries.
        out: place of these entries: contiguous; results are rounded to its dtype.
        calls: loops that compute it; None leaves it to torch.
    """

    result: Tensor | Lazy
    span: Span
    out: AnyTensor
    calls: Sequence[LoopCall] | None = None

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
        others_alone: see ``LoopQueue``.
    """

    def __init__(self, writes: Sequence[PendingWrite], *, others_alone: bool = False) -> None:
        self._writes = writes
        calls = [(i, call) for i, write in enumerate(writes) for call in write.calls or ()]
        self._queue = LoopQueue(calls, others_alone=others_alone)

    def stop(self) -> None:
        """Start no more work; threads finish their current share."""
        self._queue.stop()

    def finish(self) -> list[bool]:
        """Compute what is left; return for each write whether all entries are finite.

        Torch computes those without loops or with NaN.
        """
        largest = [0] * len(self._writes)
        for i, bits in self._queue.finish():
            largest[i] = max(largest[i], bits)
        return [
            write.run_by_torch()
            if write.calls is None or has_nan(bits)
            else not overflows(bits, write.out.dtype)
            for write, bits in zip(self._writes, largest, strict=True)
        ]


def prepare(result: Tensor | Lazy, span: Span, out: AnyTensor) -> PendingWrite:
    """Prepare the write of a span of a result into its place, and compute nothing yet."""
    now = current_execution()
    letter = letter_of(out.dtype) if out.is_cpu else None
    calls = None
    if letter is not None and isinstance(result, WeightedSum):
        first = out.data_ptr() - span[0] * out.element_size()
        loop = compiled_loop(result, letter, bypass_caches=now.bypass_caches and first % _LINE == 0)
        calls = None if loop is None else loop.calls(span, first)
    return PendingWrite(result=result, span=span, out=out, calls=calls)


def write(result: Tensor | Lazy, span: Span, out: AnyTensor) -> bool:
    """Compute a span of a result into its place; return whether all entries are finite."""
    return prepare(result, span, out).run()
