"""Tasks of compiled loops that all threads compute together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Semaphore
from typing import NamedTuple

import numpy as np

from kingyo.kernels.blocks import BLOCK, Span
from kingyo.kernels.loop_arguments import CallArguments, LoopCall, call_arguments
from kingyo.kernels.threads import current_execution

_SHARE_ALONE = 1 << 23
"""Entries that a thread computes in one call while the caller prepares others."""
_SHARES_PER_THREAD = 4
"""Shares of work per thread, so that threads finish together."""


class LoopTask(NamedTuple):
    """A part of a loop's call.

    Attributes:
        owner: index of the write or sum that it belongs to.
        span: range of entries, within that of the call.
        call: the call.
        rounders: for sums, one per row; see ``statistics.rounder``.
    """

    owner: int
    span: Span
    call: LoopCall
    rounders: tuple[float, ...] = ()


Outcomes = Sequence[tuple[int, float]]
"""Results of tasks, each with its owner: bits of the largest magnitude, or a sum of the owner's row."""
_Share = Callable[[], Outcomes]
"""Computes some tasks."""


class TaskQueue:
    """Tasks that all threads compute together; see ``writing.ParallelWrites``.

    Other threads start at once; the caller joins them in ``finish``.

    Args:
        tasks: the tasks.
        prepare: returns a function that computes some tasks with the same loop.
        others_alone: see ``writing.ParallelWrites``.
    """

    def __init__(
        self,
        tasks: Sequence[LoopTask],
        prepare: Callable[[Sequence[LoopTask]], _Share],
        *,
        others_alone: bool = False,
    ) -> None:
        now = current_execution()
        self._outcomes: list[tuple[int, float]] = []
        n_blocks = sum(task.span[1] - task.span[0] for task in tasks) // BLOCK
        n_others = 0 if now.pool is None or not tasks else min(now.threads - 1, 1 + n_blocks)
        n_shares = _SHARES_PER_THREAD * (n_others + 1) if n_others else 1
        if n_others and others_alone:
            n_shares = max(n_others, n_blocks * BLOCK // _SHARE_ALONE)
        self._shares = deque([_by_loop(share, prepare) for share in _divide(tasks, n_shares)])
        self._others: list[Future[None]] = []
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
            self._shares.clear()
            for other in self._others:
                other.cancel()  # it may not have started, behind earlier work
            wait(self._others)
        for other in self._others:
            if not other.cancelled():
                other.result()
        return self._outcomes


def _divide(tasks: Sequence[LoopTask], n: int) -> list[list[LoopTask]]:
    """Return n shares of about equal size. Spans are cut at multiples of a block, where sums start."""
    total = sum(task.span[1] - task.span[0] for task in tasks)
    size = max(BLOCK, -(-total // n))
    shares: list[list[LoopTask]] = [[]]
    room = size
    for task in tasks:
        start, stop = task.span
        while stop - start > room:
            cut = -(-(start + room) // BLOCK) * BLOCK
            if cut >= stop:
                break
            if cut > start:
                shares[-1].append(task._replace(span=(start, cut)))
            start = cut
            shares.append([])
            room = size
        shares[-1].append(task if start == task.span[0] else task._replace(span=(start, stop)))
        room = max(0, room - (stop - start))
    return shares


def _by_loop(tasks: Sequence[LoopTask], prepare: Callable[[Sequence[LoopTask]], _Share]) -> _Share:
    """Return a function that computes tasks, those with the same loop in one call."""
    groups: dict[str, list[LoopTask]] = {}
    for task in tasks:
        groups.setdefault(task.call.arguments.text, []).append(task)
    runs = [prepare(group) for group in groups.values()]
    return lambda: [pair for run in runs for pair in run()]


def prepare_writes(tasks: Sequence[LoopTask]) -> _Share:
    """Return a function that writes weighted sums; outcomes are bits of largest magnitudes."""
    from kingyo.kernels import compiled_loops

    worst, arguments = np.empty(len(tasks), dtype=np.uint32), _arguments(tasks)

    def run() -> Outcomes:
        chunk = np.empty(compiled_loops.CHUNK, dtype=np.uint8)
        compiled_loops.weighted_sums(*arguments, chunk, worst)
        return [(task.owner, bits) for task, bits in zip(tasks, worst.tolist(), strict=True)]

    return run


def prepare_sums(tasks: Sequence[LoopTask]) -> _Share:
    """Return a function that sums rounded magnitudes; row k of a task belongs to owner + k."""
    from kingyo.kernels import compiled_loops

    rounders, arguments = np.array([task.rounders for task in tasks]), _arguments(tasks)
    totals = np.empty_like(rounders)

    def run() -> Outcomes:
        compiled_loops.exact_sums(*arguments, rounders, totals)
        pairs = zip(tasks, totals.tolist(), strict=True)
        return [(task.owner + k, part) for task, parts in pairs for k, part in enumerate(parts)]

    return run


def _arguments(tasks: Sequence[LoopTask]) -> CallArguments:
    return call_arguments([LoopCall(task.call.arguments, task.span) for task in tasks])
