"""Where passes over tensors run: compiled or as the reference, and by how many threads.

Neither changes a bit of any result. ``running`` sets both for the passes below it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from kingyo.kernels.blend import Blend
from kingyo.kernels.blocks import BLOCK, Span, spans
from kingyo.kernels.lazy import Lazy
from kingyo.kernels.packed import Packed, can_be_packed, has_nan, overflows, pack

T = TypeVar("T")
_SHARE = 16 * BLOCK
"""The least number of elements that is worth another thread."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """How passes run.

    Attributes:
        compiled: by compiled code where that is possible.
        pool: threads that share the spans of a large tensor; None is the caller alone.
        threads: how many.
    """

    compiled: bool = False
    pool: ThreadPoolExecutor | None = None
    threads: int = 1


_ALONE = Running()
_running = ContextVar("running", default=_ALONE)


@cache
def has_compiler() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


@contextmanager
def running(*, compiled: bool, threads: int = 1) -> Generator[Running]:
    """Set how the passes of a block run.

    Args:
        compiled: by compiled code where that is possible (it needs numba, and a moment to load).
        threads: how many share a large tensor; torch's own threads are left alone.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="kingyo-pass") if threads > 1 else None
    chosen = Running(compiled=compiled and has_compiler(), pool=pool, threads=threads)
    token = _running.set(chosen)
    try:
        yield chosen
    finally:
        _running.reset(token)
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def is_compiled(tensors: Sequence[Tensor]) -> bool:
    """Whether a pass over these tensors runs compiled here."""
    return _running.get().compiled and can_be_packed(tensors)


def by_spans(n: int, work: Callable[[Span], T], align: int = BLOCK) -> list[T]:
    """Do work on the spans of n elements, one for each thread, that begin at multiples of ``align``."""
    here = _running.get()
    parts = max(1, min(here.threads, n // _SHARE))
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


@dataclass(frozen=True)
class Filling:
    """A span of a result that is about to be computed into its place.

    Attributes:
        result: of a merge method.
        span: which elements.
        out: where they go, rounded to its dtype: a contiguous vector of as many.
        passes: what compiled code does for it; None leaves it to the reference.
    """

    result: Tensor | Lazy
    span: Span
    out: Tensor
    passes: Sequence[tuple[Packed, Span]] | None = None

    def run(self) -> bool:
        """Compute it; return whether all is finite."""
        if self.passes is not None:
            from kingyo.kernels import fused

            worst = 0
            for packed, (start, stop) in self.passes:
                worst = max(worst, fused.blend(*packed.arguments, start, stop))
            if not has_nan(worst):
                return not overflows(worst, self.out.dtype)
        finite = True
        for start, stop in spans(self.span[1] - self.span[0]):
            part = self.out[start:stop].copy_(self._block((self.span[0] + start, self.span[0] + stop)))
            finite = finite and bool(torch.isfinite(part).all())
        return finite

    def _block(self, span: Span) -> Tensor:
        if isinstance(self.result, Tensor):
            return self.result.reshape(-1)[span[0] : span[1]]
        return self.result.block(span)


def prepare(result: Tensor | Lazy, span: Span, out: Tensor) -> Filling:
    """Say how a span of a result is computed here, and compute nothing yet.

    Args:
        result: of a merge method.
        span: which elements.
        out: where they go.
    """
    if not isinstance(result, Blend) or not _can_fuse(result, out):
        return Filling(result, span, out)
    first = out.data_ptr() - span[0] * out.element_size()
    return Filling(result, span, out, tuple(pack(result, span, first, out.dtype)))


def write(result: Tensor | Lazy, span: Span, out: Tensor) -> bool:
    """Compute a span of a result into its place; see ``prepare``. Returns whether all are finite."""
    return prepare(result, span, out).run()


def _can_fuse(blend: Blend, out: Tensor) -> bool:
    return (
        _running.get().compiled
        and bool(blend.terms)
        and can_be_packed([*(term.source for term in blend.terms), blend.base, out])
    )
