"""Write results into their places: one alone, or many of a model together, on all threads.

Python prepares a write, and compiled code then computes it without the interpreter's lock: many small tensors
in one call. The bits do not depend on the division of work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Semaphore

import numpy as np

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels import machine_code
from kingyo.merging.kernels.blocks import BLOCK, Span, all_finite, spans
from kingyo.merging.kernels.loops import CHUNK, LoopCall, call_arguments, has_nan, overflows
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch, letter_of
from kingyo.merging.kernels.threads import cancel_waiting, compiled_loop, current_execution
from kingyo.merging.kernels.weighted_sum import Lazy, WeightedSum

_BLOCK_ON_DEVICE = 1 << 22  # entries that another device computes at a time
_SHARE_ALONE = 1 << 23  # entries that a thread computes in one call while the caller prepares others
_SHARES_PER_THREAD = 4  # so that threads finish together
_LINE = 64  # bytes per cache line; stores that bypass the caches start at a multiple of it
OwnedCall = tuple[int, LoopCall]
"""Index of the write that a call belongs to, and the call."""
_Share = Callable[[], list[tuple[int, int]]]
"""Computes some calls; returns with the index of the write the bits of the largest magnitude of each."""


@dataclass(frozen=True, kw_only=True)
class PendingWrite:
    """A span of a result that is ready to be computed into its place."""

    result: Tensor | Lazy  # result of a merge method
    span: Span  # range of entries
    out: AnyTensor  # place of these entries: contiguous; results are rounded to its dtype
    calls: Sequence[LoopCall] | None = None  # loops that compute it; None leaves it to torch

    def run(self) -> bool:
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
    """Writes that all threads compute together: others start at once, the caller joins them in ``finish``.

    ``others_alone``: other threads compute by few calls while the caller prepares the next writes.
    """

    def __init__(self, writes: Sequence[PendingWrite], *, others_alone: bool = False) -> None:
        now = current_execution()
        self._writes = writes
        calls = [(i, call) for i, write in enumerate(writes) for call in write.calls or ()]
        self._others: list[Future[None]] = []
        self._outcomes: list[tuple[int, int]] = []
        n_blocks = _size(calls) // BLOCK
        n_others = 0 if now.pool is None or not calls else min(now.threads - 1, 1 + n_blocks)
        n_shares = _SHARES_PER_THREAD * (n_others + 1) if n_others else 1
        if n_others and others_alone:
            n_shares = max(n_others, n_blocks * BLOCK // _SHARE_ALONE)
        self._shares = deque(map(_by_loop, _divide(calls, n_shares)))
        started = Semaphore(0)
        if now.pool is not None:
            self._others = [now.pool.submit(self._help, started) for _ in range(n_others)]
        if others_alone:  # otherwise the caller releases the lock soon, by computing
            for _ in range(n_others):
                started.acquire()

    def _help(self, started: Semaphore) -> None:
        started.release()
        self._work(self._shares.pop)

    def _work(self, next_share: Callable[[], _Share]) -> None:
        while True:
            try:
                share = next_share()
            except IndexError:
                return
            self._outcomes += share()

    @property
    def others_are_done(self) -> bool:
        return all(other.done() for other in self._others)

    def stop(self) -> None:
        self._shares.clear()

    def finish(self) -> list[bool]:
        """Compute what is left; return for each write whether all entries are finite."""
        try:
            self._work(self._shares.popleft)  # from the other end: each core has these tensors in its cache
        finally:
            self.stop()
            others = cancel_waiting(self._others)
        for other in others:
            other.result()
        largest = [0] * len(self._writes)
        for i, bits in self._outcomes:
            largest[i] = max(largest[i], bits)
        return [
            write.run_by_torch()
            if write.calls is None or has_nan(bits)
            else not overflows(bits, write.out.dtype)
            for write, bits in zip(self._writes, largest, strict=True)
        ]


def _size(calls: Sequence[OwnedCall]) -> int:
    return sum(call.span[1] - call.span[0] for _, call in calls)


def _divide(calls: Sequence[OwnedCall], n: int) -> list[list[OwnedCall]]:
    size = max(BLOCK, -(-_size(calls) // n))
    shares: list[list[OwnedCall]] = [[]]
    room = size
    for owner, call in calls:
        start, stop = call.span
        while stop - start > room:
            cut = -(-(start + room) // BLOCK) * BLOCK
            if cut >= stop:
                break
            if cut > start:
                shares[-1].append((owner, call._replace(span=(start, cut))))
            start = cut
            shares.append([])
            room = size
        shares[-1].append((owner, call if start == call.span[0] else call._replace(span=(start, stop))))
        room = max(0, room - (stop - start))
    return shares


def _by_loop(calls: Sequence[OwnedCall]) -> _Share:
    groups: dict[str, list[OwnedCall]] = {}
    for owner, call in calls:
        groups.setdefault(call.text, []).append((owner, call))
    runs = [_at_once(group) for group in groups.values()]
    return lambda: [pair for run in runs for pair in run()]


def _at_once(calls: Sequence[OwnedCall]) -> _Share:
    arguments = call_arguments([call for _, call in calls])
    worst, chunk = np.empty(len(calls), np.uint32), np.empty(CHUNK, np.uint8)

    def run() -> list[tuple[int, int]]:
        machine_code.weighted_sums(*arguments, chunk, worst)
        return [(owner, bits) for (owner, _), bits in zip(calls, worst.tolist(), strict=True)]

    return run


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
