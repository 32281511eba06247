"""Results into their places: one alone, or many of a model together, by all threads.

A filling is prepared by Python and then computed without it: of many small tensors in one call of compiled
code. No bit depends on who computes what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from threading import Semaphore
from typing import NamedTuple

import numpy as np

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blend import WeightedSum
from kingyo.kernels.blocks import BLOCK, LINE, Span, all_finite, spans
from kingyo.kernels.draft import RescaledSum
from kingyo.kernels.lazy import Lazy
from kingyo.kernels.loops import PER_SOURCE, SHARED
from kingyo.kernels.measures import scaled_back
from kingyo.kernels.packed import Arguments, Packed, arguments, has_nan, overflows
from kingyo.kernels.passes import compiled_passes, here
from kingyo.kernels.raw import letter_of
from kingyo.kernels.reference import rounder

_ON_DEVICE = 1 << 22
"""How many elements another device than the processor computes at once."""
_ALONE = 1 << 23
"""How many elements a thread computes by one call while the caller prepares others."""
_PARTS_PER_THREAD = 4
"""In how many parts work is cut for each thread, so that they end together."""


class KeptSum(NamedTuple):
    """A pass that sums what is kept of a source, and the numbers that this sum scales; see ``RescaledSum``.

    Attributes:
        passes: the pass over all entries.
        whole: Σ|δ|.
        scaled: the numbers of the passes that blend it.
        place: of the source's factor among them.
    """

    passes: Sequence[tuple[Packed, Span]]
    whole: float
    scaled: Sequence[list[float]]
    place: int


@dataclass(frozen=True, kw_only=True)
class Filling:
    """A span of a result that is about to be computed into its place.

    Attributes:
        result: of a merge method.
        span: which elements.
        out: where they go, rounded to its dtype: contiguous, as many.
        passes: what compiled code does for it; None leaves it to the reference.
        sums: what is summed before; then it can be computed once, since its numbers are scaled.
    """

    result: Tensor | Lazy
    span: Span
    out: Tensor
    passes: Sequence[tuple[Packed, Span]] | None = None
    sums: Sequence[KeptSum] = ()

    def run(self) -> bool:
        """Compute it; return whether all is finite."""
        return Work([self]).end()[0]

    def by_reference(self) -> bool:
        """The same, by the reference."""
        finite, out = True, self.out.view(-1)
        size = BLOCK if out.is_cpu or not isinstance(self.result, WeightedSum) else _ON_DEVICE
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


class Work:
    """Fillings that all threads compute together; it begins at once, where there are other threads.

    Args:
        fillings: what is computed. Those without passes are left to the caller.
        others_alone: the others do it, by few calls, while the caller has much to prepare: between two calls
            they wait for the interpreter's lock.
    """

    def __init__(self, fillings: Sequence[Filling], *, others_alone: bool = False) -> None:
        self._fillings = fillings
        self._sums = [each for filling in fillings for each in filling.sums]
        todo, make = (self._sums_to_do(), _sums_of) if self._sums else (self._blends_to_do(), _blends_of)
        self._now: _Together = _Together(todo, make, others_alone=others_alone)

    def _sums_to_do(self) -> list[_Part]:
        return [
            _Part(i, packed, span, rounder(each.whole))
            for i, each in enumerate(self._sums)
            for packed, span in each.passes
        ]

    def _blends_to_do(self) -> list[_Part]:
        return [
            _Part(i, packed, span)
            for i, filling in enumerate(self._fillings)
            for packed, span in filling.passes or ()
        ]

    def stop(self) -> None:
        """Begin nothing more; what other threads are at is done when they are waited for."""
        self._now.stop()

    def end(self) -> list[bool]:
        """Compute what is left; of each filling whether all is finite."""
        if self._sums:
            kept = [0.0] * len(self._sums)
            for i, part in self._now.end():
                kept[i] += part  # which is exact, in any order
            for each, after in zip(self._sums, kept, strict=True):
                for numbers in each.scaled:
                    numbers[each.place] *= scaled_back(each.whole, after)
            self._now = _Together(self._blends_to_do(), _blends_of)
        return _finite(self._fillings, self._now.end())


class _Part(NamedTuple):
    """One pass: which of many it is, its description, which elements, and what its sums are rounded by."""

    i: int
    packed: Packed
    span: Span
    rounder: float = 0.0


_Found = Sequence[tuple[int, float]]
"""What passes found, each with the number of its pass: bits of a largest magnitude, or a sum."""
_Run = Callable[[], _Found]
"""Computes a share, and says what it found."""


class _Together:
    """Passes of all threads; see ``Work``.

    Args:
        passes: what is computed.
        make: makes those of one share, and of one description, ready to run.
    """

    def __init__(
        self,
        passes: Sequence[_Part],
        make: Callable[[Sequence[_Part]], _Run],
        *,
        others_alone: bool = False,
    ) -> None:
        running = here()
        self._found: list[tuple[int, float]] = []
        self._others: list[Future[None]] = []
        n_blocks = sum(each.span[1] - each.span[0] for each in passes) // BLOCK
        others = 0 if running.pool is None or not passes else min(running.threads - 1, 1 + n_blocks)
        n_shares = _PARTS_PER_THREAD * (others + 1) if others else 1
        if others and others_alone:
            n_shares = max(others, n_blocks * BLOCK // _ALONE)
        self._shares = deque([_ready(share, make) for share in _shares(passes, n_shares)])
        self._begun = Semaphore(0)
        if running.pool is not None:
            self._others = [running.pool.submit(self._help) for _ in range(others)]
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
            self._found += run()

    def stop(self) -> None:
        """See ``Work``."""
        self._shares.clear()

    def end(self) -> _Found:
        """Compute what is left, and wait for the others."""
        try:
            self._take(self._shares.popleft)  # from the other end: each core meets the tensors of last time
        finally:
            self._shares.clear()
            for other in self._others:
                other.cancel()  # one that did not begin: it may wait for the work of before
            wait(self._others)
        for other in self._others:
            if not other.cancelled():
                other.result()
        return self._found


def _finite(fillings: Sequence[Filling], worst: _Found) -> list[bool]:
    """What is known of each filling by the bits of its largest magnitudes; the reference does the rest."""
    largest = [0] * len(fillings)
    for i, bits in worst:
        if bits > largest[i]:
            largest[i] = int(bits)
    return [
        filling.by_reference()
        if filling.passes is None or has_nan(bits)
        else not overflows(bits, filling.out.dtype)
        for filling, bits in zip(fillings, largest, strict=True)
    ]


def _shares(passes: Sequence[_Part], n: int) -> list[list[_Part]]:
    """Return n shares of about as many elements. Passes are cut at multiples of a block, where sums begin."""
    total = sum(stop - start for _, _, (start, stop), _ in passes)
    size = max(BLOCK, -(-total // n))
    shares: list[list[_Part]] = [[]]
    room = size
    for each in passes:
        start, stop = each.span
        while stop - start > room:
            cut = -(-(start + room) // BLOCK) * BLOCK
            if cut >= stop:
                break
            if cut > start:
                shares[-1].append(each._replace(span=(start, cut)))
            start = cut
            shares.append([])
            room = size
        shares[-1].append(each if start == each.span[0] else each._replace(span=(start, stop)))
        room = max(0, room - (stop - start))
    return shares


def _ready(passes: Sequence[_Part], make: Callable[[Sequence[_Part]], _Run]) -> _Run:
    """Make a share ready to run."""
    alike: dict[str, list[_Part]] = {}
    for each in passes:
        alike.setdefault(each.packed.text, []).append(each)
    runs = [make(group) for group in alike.values()]
    return lambda: [pair for run in runs for pair in run()]


def _blends_of(passes: Sequence[_Part]) -> _Run:
    from kingyo.kernels import fused

    found, made = np.empty(len(passes), dtype=np.uint32), _arguments(passes)

    def run() -> _Found:
        fused.blends(*made, found)
        return [(each.i, bits) for each, bits in zip(passes, found.tolist(), strict=True)]

    return run


def _sums_of(passes: Sequence[_Part]) -> _Run:
    from kingyo.kernels import fused

    found, made = np.empty(len(passes)), _arguments(passes)
    rounders = np.array([each.rounder for each in passes])

    def run() -> _Found:
        fused.exact_sums(*made, rounders, found)
        return [(each.i, part) for each, part in zip(passes, found.tolist(), strict=True)]

    return run


def _arguments(passes: Sequence[_Part]) -> Arguments:
    return arguments([(each.packed, each.span) for each in passes])


def prepare(result: Tensor | Lazy, span: Span, out: Tensor) -> Filling:
    """Say how a span of a result is computed here, and compute nothing yet.

    Args:
        result: of a merge method.
        span: which elements.
        out: where they go.
    """
    plain = Filling(result=result, span=span, out=out)
    letter = letter_of(out.dtype) if out.is_cpu else None
    if letter is None or not here().compiled:
        return plain
    is_whole_draft = isinstance(result, RescaledSum) and span == (0, result.blend.n_elements)
    blend = (
        result if not isinstance(result, RescaledSum) else result.blend if is_whole_draft else result.decided
    )
    if not isinstance(blend, WeightedSum):
        return plain
    first = out.data_ptr() - span[0] * out.element_size()
    found = compiled_passes(blend, letter, past=here().past and first % LINE == 0)
    if found is None:
        return plain
    over = found.over(span, first)
    sums = _sums_before(result, over) if isinstance(result, RescaledSum) and is_whole_draft else []
    return Filling(result=result, span=span, out=out, passes=over, sums=sums)


def _sums_before(draft: RescaledSum, over: Sequence[tuple[Packed, Span]]) -> list[KeptSum]:
    """Say what is summed of a draft before the passes that blend it."""
    found: list[KeptSum] = []
    for k, (term, whole) in enumerate(zip(draft.blend.terms, draft.wholes, strict=True)):
        if whole is None:
            continue
        kept = compiled_passes(replace(draft.blend, terms=(term,)), result="rows")
        assert kept is not None, "the blend of all terms is compiled"
        scaled = [packed.numbers for packed, _ in over]
        found.append(KeptSum(kept.over((0, draft.blend.n_elements)), whole, scaled, SHARED + PER_SOURCE * k))
    return found


def write(result: Tensor | Lazy, span: Span, out: Tensor) -> bool:
    """Compute a span of a result into its place; see ``prepare``. Returns whether all are finite."""
    return prepare(result, span, out).run()
