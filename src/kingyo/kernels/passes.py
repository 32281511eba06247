"""Where passes over tensors run: compiled or as the reference, and by how many threads.

Neither changes a bit of any result. ``running`` sets both for the passes below it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from kingyo.io.lazy_torch import is_loaded, torch
from kingyo.kernels.blend import WeightedSum
from kingyo.kernels.blocks import BLOCK, Span, spans
from kingyo.kernels.packed import Passes, pack

T = TypeVar("T")
_LEAST_PER_THREAD = 8 * BLOCK
"""The least number of elements that is worth another thread."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """How passes run.

    Attributes:
        compiled: by compiled code where that is possible.
        pool: the other threads; None is the caller alone.
        threads: how many there are, with the caller.
        past: whether compiled code writes past the caches, where a place allows it.
    """

    compiled: bool = False
    pool: ThreadPoolExecutor | None = None
    threads: int = 1
    past: bool = False

    def together(self, work: Callable[[], None]) -> None:
        """Do the same in all threads, and wait for them; the caller's error goes first."""
        others = [] if self.pool is None else [self.pool.submit(work) for _ in range(self.threads - 1)]
        try:
            work()
        finally:
            wait(others)
        for other in others:
            other.result()


_ALONE = Running()
_running = ContextVar("running", default=_ALONE)


@cache
def compiler_trouble() -> str | None:
    """Why nothing can be compiled, as the end of a sentence on numba; None where it can be."""
    try:
        from numba import config
    except ModuleNotFoundError as error:
        return "is not installed" if error.name == "numba" else f"cannot be imported ({error})"
    except Exception as error:  # noqa: BLE001 - it refuses numpys that it does not know, in words of its own
        return f"cannot be imported ({error})"
    disabled = bool(getattr(config, "DISABLE_JIT", False))
    return "is told not to compile (NUMBA_DISABLE_JIT)" if disabled else None


def has_compiler() -> bool:
    """Whether numba is there and can be used."""
    return compiler_trouble() is None


def n_threads() -> int:
    """How many threads compute where nobody says: as many as torch uses, if it is loaded.

    Else OMP_NUM_THREADS, which torch obeys too, or as many as there are cores for this process.
    """
    if is_loaded():
        return torch.get_num_threads()
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def running(
    *, compiled: bool, threads: int = 1, past: bool = False, keep: bool = False
) -> Generator[Running]:
    """Set how the passes of a block run.

    Args:
        compiled: by compiled code where that is possible (it needs numba, and a moment to load).
        threads: how many share a large tensor; torch's own threads are left alone.
        past: write past the caches: for more than these hold, which nobody reads at once.
        keep: keep the threads for the next caller: to start them and to end them takes time.
    """
    with _pool(threads, keep=keep) if threads > 1 else nullcontext() as pool:
        chosen = Running(compiled=compiled and has_compiler(), pool=pool, threads=threads, past=past)
        token = _running.set(chosen)
        try:
            yield chosen
        finally:
            _running.reset(token)


_idle: dict[int, ThreadPoolExecutor] = {}
"""One pool at most, by the number of threads that it makes with its caller."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # where their threads are not


@contextmanager
def _pool(threads: int, *, keep: bool) -> Generator[ThreadPoolExecutor]:
    """Threads for one caller alone. After an error they are waited for, and no longer used."""
    pool = _idle.pop(threads, None) or ThreadPoolExecutor(threads - 1, thread_name_prefix="kingyo-pass")
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    others = [pool]
    if keep:
        others = list(_idle.values())
        _idle.clear()
        _idle[threads] = pool
    for other in others:
        other.shutdown()


def here() -> Running:
    """How passes run here."""
    return _running.get()


def compiled_passes(
    blend: WeightedSum,
    out: str = "f",
    result: Literal["blend", "rows", "size", "variance"] = "blend",
    *,
    past: bool = False,
) -> Passes | None:
    """Return the passes over a blend, if they run compiled here; see ``pack``."""
    return pack(blend, out, result, past=past) if _running.get().compiled else None


def by_spans(n: int, work: Callable[[Span], T], align: int = BLOCK) -> list[T]:
    """Do work on the spans of n elements, one for each thread, that begin at multiples of ``align``."""
    now = _running.get()
    parts = max(1, min(now.threads, n // _LEAST_PER_THREAD))
    size = max(align, -(-n // (parts * align)) * align)
    todo = list(spans(n, size))
    if now.pool is None or len(todo) == 1:
        return [work(span) for span in todo]
    alone = Running(compiled=now.compiled)

    def told(span: Span) -> T:
        token = _running.set(alone)  # a thread of the pool does not know how passes run here
        try:
            return work(span)
        finally:
            _running.reset(token)

    others = [now.pool.submit(told, span) for span in todo[1:]]
    try:
        first = told(todo[0])
    finally:
        wait(others)
    return [first, *(other.result() for other in others)]
