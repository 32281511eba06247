"""Calls of compiled loops that all threads compute together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Semaphore

import numpy as np

from kingyo.kernels.blocks import BLOCK
from kingyo.kernels.loop_arguments import LoopCall, call_arguments
from kingyo.kernels.threads import current_execution

_SHARE_ALONE = 1 << 23
"""Entries that a thread computes in one call while the caller prepares others."""
_SHARES_PER_THREAD = 4
"""Shares of work per thread, so that threads finish together."""
OwnedCall = tuple[int, LoopCall]
"""Index of the write that a call belongs to, and the call."""
Outcomes = Sequence[tuple[int, int]]
"""Index of a write, and the bits of the largest magnitude of one of its calls."""
_Share = Callable[[], Outcomes]
"""Computes some calls."""


class LoopQueue:
    """Calls that all threads compute together: others start at once, the caller joins them in ``finish``.

    Args:
        calls: the calls.
        others_alone: other threads compute by few calls while the caller prepares the next writes, since they
            wait for the interpreter's lock between calls.
    """

    def __init__(self, calls: Sequence[OwnedCall], *, others_alone: bool = False) -> None:
        now = current_execution()
        self._outcomes: list[tuple[int, int]] = []
        self._others: list[Future[None]] = []
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

    def stop(self) -> None:
        """Start no more shares."""
        self._shares.clear()

    def finish(self) -> Outcomes:
        """Compute what is left, wait for the other threads, and return all outcomes."""
        try:
            self._work(self._shares.popleft)  # from the other end: each core has these tensors in its cache
        finally:
            self.stop()
            for other in self._others:
                other.cancel()  # it may not have started, behind earlier work
            wait(self._others)
        for other in self._others:
            if not other.cancelled():
                other.result()
        return self._outcomes


def _size(calls: Sequence[OwnedCall]) -> int:
    return sum(call.span[1] - call.span[0] for _, call in calls)


def _divide(calls: Sequence[OwnedCall], n: int) -> list[list[OwnedCall]]:
    """Return n shares of about equal size. Spans are cut at multiples of a block."""
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
    """Return a function that computes calls, those of the same loop at once."""
    groups: dict[str, list[OwnedCall]] = {}
    for owner, call in calls:
        groups.setdefault(call.text, []).append((owner, call))
    runs = [_at_once(group) for group in groups.values()]
    return lambda: [pair for run in runs for pair in run()]


def _at_once(calls: Sequence[OwnedCall]) -> _Share:
    from kingyo.kernels import compiled_loops

    arguments = call_arguments([call for _, call in calls])
    worst, chunk = np.empty(len(calls), np.uint32), np.empty(compiled_loops.CHUNK, np.uint8)

    def run() -> Outcomes:
        compiled_loops.weighted_sums(*arguments, chunk, worst)
        return [(owner, bits) for (owner, _), bits in zip(calls, worst.tolist(), strict=True)]

    return run
