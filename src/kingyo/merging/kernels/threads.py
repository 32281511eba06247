"""How kernels run: by compiled loops or by torch, and on how many threads. Neither changes a bit.

``execution`` sets both for the calls inside it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from kingyo.core.io.lazy_torch import is_loaded, torch
from kingyo.merging.kernels.blocks import BLOCK, Span, spans
from kingyo.merging.kernels.loops import Result, SumLoop, sum_loop
from kingyo.merging.kernels.machine_code import converts_halves, has_code
from kingyo.merging.kernels.weighted_sum import WeightedSum

T = TypeVar("T")
_MIN_PER_THREAD = 8 * BLOCK
"""Fewer entries are not worth another thread."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How kernels run."""

    compiled: bool = False  # use compiled loops where possible
    pool: ThreadPoolExecutor | None = None  # the other threads; None for the caller alone
    threads: int = 1  # number of threads, with the caller
    bypass_caches: bool = False  # whether loops write past the caches, where the address allows it

    def on_all_threads(self, work: Callable[[], None]) -> None:
        """Call ``work`` once on the caller and each free thread; the caller's error is raised first."""
        others = [] if self.pool is None else [self.pool.submit(work) for _ in range(self.threads - 1)]
        try:
            work()
        finally:
            others = cancel_waiting(others)
        for other in others:
            other.result()


_ALONE = Execution()
_current = ContextVar("execution", default=_ALONE)


@cache
def compiler_trouble() -> str | None:
    """Return why numba cannot compile, as the end of a sentence about it; None if it can."""
    try:
        if "NUMBA_DISABLE_JIT" not in os.environ and has_code():  # saves the import of numba
            return None
        from numba import config

        has_halves = converts_halves()
    except ModuleNotFoundError as error:
        return "is not installed" if error.name == "numba" else f"cannot be imported ({error})"
    except Exception as error:  # noqa: BLE001 - numba raises other errors for an unsupported numpy
        return f"cannot be imported ({error})"
    if getattr(config, "DISABLE_JIT", False):
        return "is told not to compile (NUMBA_DISABLE_JIT)"
    return None if has_halves else "needs a processor that converts float16 (F16C)"


def has_compiler() -> bool:
    return compiler_trouble() is None


def n_threads() -> int:
    """Return the default: torch's if it is loaded, else OMP_NUM_THREADS or the cores of this process."""
    if is_loaded():
        return torch.get_num_threads()
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if setting.isdecimal() and int(setting):
        return int(setting)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cancel_waiting(calls: Sequence[Future[T]]) -> list[Future[T]]:
    """Cancel the calls that wait for a busy thread; wait for the others and return them."""
    begun = [call for call in calls if not call.cancel()]
    wait(begun)  # it would wait for the busy threads if cancelled calls were among them
    return begun


@contextmanager
def execution(*, compiled: bool, threads: int = 1, bypass_caches: bool = False) -> Generator[Execution]:
    """Set how kernels run inside a ``with`` block; see ``Execution``. Torch's own threads are not changed."""
    with ThreadPoolExecutor(threads - 1) if threads > 1 else nullcontext() as pool:
        chosen = Execution(
            compiled=compiled and has_compiler(), pool=pool, threads=threads, bypass_caches=bypass_caches
        )
        token = _current.set(chosen)
        try:
            yield chosen
        finally:
            _current.reset(token)


def current_execution() -> Execution:
    return _current.get()


def compiled_loop(
    weighted: WeightedSum, out: str = "f", result: Result = "sum", *, bypass_caches: bool = False
) -> SumLoop | None:
    """Return the loop over a sum if it runs compiled here, else None; see ``sum_loop``."""
    return sum_loop(weighted, out, result, bypass_caches=bypass_caches) if _current.get().compiled else None


def map_spans(n: int, work: Callable[[Span], T], align: int = BLOCK) -> list[T]:
    """Call ``work`` on spans of n entries, one per thread, that start at multiples of ``align``."""
    now = _current.get()
    parts = max(1, min(now.threads, n // _MIN_PER_THREAD))
    size = max(align, -(-n // (parts * align)) * align)
    todo = list(spans(n, size))
    if now.pool is None or len(todo) == 1:
        return [work(span) for span in todo]

    left, results = deque(enumerate(todo)), dict[int, T]()

    def run() -> None:
        token = _current.set(Execution(compiled=now.compiled))  # threads of a pool inherit no context
        try:
            while (part := next_of(left)) is not None:
                results[part[0]] = work(part[1])
        finally:
            _current.reset(token)

    now.on_all_threads(run)
    return [results[i] for i in range(len(todo))]


def next_of(left: deque[T]) -> T | None:
    """Take the first item that no other thread took; None if none is left."""
    try:
        return left.popleft()
    except IndexError:
        return None
