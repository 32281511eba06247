"""Where passes over tensors run: compiled or as the reference, and by how many threads.

Neither changes a bit of any result. ``running`` sets both for the passes below it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from threading import Semaphore
from typing import TypeVar

import numpy as np

from kingyo.kernels.blend import Blend
from kingyo.kernels.blocks import BLOCK, LINE, Span, all_finite, spans
from kingyo.kernels.lazy import Lazy
from kingyo.kernels.packed import Packed, Passes, has_nan, overflows, pack
from kingyo.kernels.raw import letter_of
from kingyo.late import Tensor, is_loaded, torch

T = TypeVar("T")
_LEAST_PER_THREAD = 8 * BLOCK
"""The least number of elements that is worth another thread."""
_ON_DEVICE = 1 << 22
"""How many elements another device than the processor computes at once."""
_PARTS_PER_THREAD = 4
"""In how many parts work is cut for each thread, so that they end together."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """How passes run.

    Attributes:
        compiled: by compiled code where that is possible.
        pool: threads that share the spans of a large tensor; None is the caller alone.
        threads: how many.
        past: whether compiled code writes past the caches, where a place allows it.
    """

    compiled: bool = False
    pool: ThreadPoolExecutor | None = None
    threads: int = 1
    past: bool = False


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
def running(*, compiled: bool, threads: int = 1, past: bool = False) -> Generator[Running]:
    """Set how the passes of a block run.

    Args:
        compiled: by compiled code where that is possible (it needs numba, and a moment to load).
        threads: how many share a large tensor; torch's own threads are left alone.
        past: write past the caches: for more than these hold, which nobody reads at once.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="kingyo-pass") if threads > 1 else None
    chosen = Running(compiled=compiled and has_compiler(), pool=pool, threads=threads, past=past)
    token = _running.set(chosen)
    try:
        yield chosen
    finally:
        _running.reset(token)
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def compiled_passes(blend: Blend, out: str = "f", switches: str = "") -> Passes | None:
    """The passes over a blend, if they run compiled here; see ``pack``."""
    return pack(blend, out, switches) if _running.get().compiled else None


def by_spans(n: int, work: Callable[[Span], T], align: int = BLOCK) -> list[T]:
    """Do work on the spans of n elements, one for each thread, that begin at multiples of ``align``."""
    here = _running.get()
    parts = max(1, min(here.threads, n // _LEAST_PER_THREAD))
    size = max(align, -(-n // (parts * align)) * align)
    todo = list(spans(n, size))
    if here.pool is None or len(todo) == 1:
        return [work(span) for span in todo]
    alone = Running(compiled=here.compiled)

    def told(span: Span) -> T:
        token = _running.set(alone)  # a thread of the pool does not know how passes run here
        try:
            return work(span)
        finally:
            _running.reset(token)

    return list(here.pool.map(told, todo))


@dataclass(frozen=True, kw_only=True)
class Filling:
    """A span of a result that is about to be computed into its place.

    Attributes:
        result: of a merge method.
        span: which elements.
        out: where they go, rounded to its dtype: contiguous, as many.
        passes: what compiled code does for it; None leaves it to the reference.
    """

    result: Tensor | Lazy
    span: Span
    out: Tensor
    passes: Sequence[tuple[Packed, Span]] | None = None

    def run(self) -> bool:
        """Compute it; return whether all is finite."""
        if self.passes is None:
            return self.by_reference()
        from kingyo.kernels import fused

        worst = [(0, fused.blend(*packed.arguments, *span)) for packed, span in self.passes]
        return _finite([self], worst)[0]

    def by_reference(self) -> bool:
        """The same, by the reference."""
        finite, out = True, self.out.view(-1)
        size = BLOCK if out.is_cpu or not isinstance(self.result, Blend) else _ON_DEVICE
        for start, stop in spans(self.span[1] - self.span[0], size):
            part = out[start:stop].copy_(self._block((self.span[0] + start, self.span[0] + stop)))
            finite = finite and all_finite(part)
        return finite

    def _block(self, span: Span) -> Tensor:
        if isinstance(self.result, torch.Tensor):
            return self.result.reshape(-1)[span[0] : span[1]]
        return self.result.block(span)


class Work:
    """Fillings that all threads compute together; it begins at once, where there are other threads.

    Args:
        fillings: what is computed. Those without passes are left to the caller.
        others_alone: the others do it, by one call each, while the caller has much to prepare: between two
            calls they would wait for the interpreter's lock.
    """

    def __init__(self, fillings: Sequence[Filling], *, others_alone: bool = False) -> None:
        here = _running.get()
        self._fillings = fillings
        self._worst: list[tuple[int, int]] = []
        self._others: list[Future[None]] = []
        passes = [
            (i, packed, span) for i, filling in enumerate(fillings) for packed, span in filling.passes or ()
        ]
        others = 0 if here.pool is None or not passes else here.threads - 1
        n_shares = 1 if not others else others if others_alone else _PARTS_PER_THREAD * here.threads
        self._shares = deque(map(_run_of, _shares(passes, n_shares)))
        self._begun = Semaphore(0)
        if here.pool is not None:
            self._others = [here.pool.submit(self._help) for _ in range(others)]
        if others_alone:  # else the caller lets go of the lock at once, by computing
            for _ in range(others):
                self._begun.acquire()

    def _help(self) -> None:
        self._begun.release()
        self._take(self._shares.pop)

    def _take(self, share: Callable[[], _Run]) -> None:
        while True:
            try:
                run = share()
            except IndexError:
                return
            self._worst += run()

    def stop(self) -> None:
        """Begin nothing more; what other threads are at is done when they are waited for."""
        self._shares.clear()

    def end(self) -> list[bool]:
        """Compute what is left; of each filling whether all is finite."""
        try:
            self._take(self._shares.popleft)  # from the other end: each core meets the tensors of last time
        finally:
            self._shares.clear()
            wait(self._others)
        for other in self._others:
            other.result()
        return _finite(self._fillings, self._worst)


_Run = Callable[[], list[tuple[int, int]]]
"""Computes a share; of each pass its filling, and the bits of its largest magnitude."""
_Pass = tuple[int, Packed, Span]
"""Which filling it belongs to, its description, and which elements."""


def _finite(fillings: Sequence[Filling], worst: Sequence[tuple[int, int]]) -> list[bool]:
    """What is known of each filling by the bits of its largest magnitudes; the reference does the rest."""
    largest: dict[int, int] = {}
    for i, bits in worst:
        largest[i] = max(largest.get(i, 0), bits)
    found: list[bool] = []
    for i, filling in enumerate(fillings):
        bits = largest[i] if filling.passes else 0
        is_done = filling.passes is not None and not has_nan(bits)
        found.append(not overflows(bits, filling.out.dtype) if is_done else filling.by_reference())
    return found


def _shares(passes: Sequence[_Pass], n: int) -> list[list[_Pass]]:
    """As many elements for each of n threads."""
    total = sum(stop - start for _, _, (start, stop) in passes)
    size = max(BLOCK, -(-total // n))
    shares: list[list[_Pass]] = [[]]
    room = size
    for i, packed, (start, stop) in passes:
        first = start
        while stop - first > room:
            shares[-1].append((i, packed, (first, first + room)))
            first += room
            shares.append([])
            room = size
        shares[-1].append((i, packed, (first, stop)))
        room -= stop - first
    return shares


def _run_of(passes: Sequence[_Pass]) -> _Run:
    """Make passes ready to run; then of each its filling, and the bits of its largest magnitude."""
    alike: dict[str, list[_Pass]] = {}
    for each in passes:
        alike.setdefault(each[1].text, []).append(each)
    runs = [_run_of_alike(text, group) for text, group in alike.items()]
    return lambda: [pair for run in runs for pair in run()]


def _run_of_alike(text: str, passes: Sequence[_Pass]) -> Callable[[], Sequence[tuple[int, int]]]:
    from kingyo.kernels import fused

    found = np.empty(len(passes), dtype=np.uint32)
    arguments = (
        np.array([packed.addresses for _, packed, _ in passes], dtype=np.uint64),
        np.array([packed.numbers for _, packed, _ in passes], dtype=np.float32),
        np.array([packed.keys for _, packed, _ in passes], dtype=np.uint32),
        np.array([span for _, _, span in passes], dtype=np.int64),
    )

    def run() -> list[tuple[int, int]]:
        fused.blends(text, *arguments, found)
        return [(i, bits) for (i, _, _), bits in zip(passes, found.tolist(), strict=True)]

    return run


def prepare(result: Tensor | Lazy, span: Span, out: Tensor) -> Filling:
    """Say how a span of a result is computed here, and compute nothing yet.

    Args:
        result: of a merge method.
        span: which elements.
        out: where they go.
    """
    letter = letter_of(out.dtype)
    if letter is None or not out.is_cpu or not isinstance(result, Blend):
        return Filling(result=result, span=span, out=out)
    first = out.data_ptr() - span[0] * out.element_size()
    is_past = _running.get().past and first % LINE == 0
    found = compiled_passes(result, letter.upper() if is_past else letter)
    passes = None if found is None else found.over(span, first)
    return Filling(result=result, span=span, out=out, passes=passes)


def write(result: Tensor | Lazy, span: Span, out: Tensor) -> bool:
    """Compute a span of a result into its place; see ``prepare``. Returns whether all are finite."""
    return prepare(result, span, out).run()
