"""The arguments of a compiled loop for a weighted sum, or None if no loop can compute it."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels.blocks import Span
from kingyo.kernels.loop_text import LoopForm, LoopTerm, Result, text
from kingyo.kernels.masks import CompiledMask, LoopMask, Mask, Ranks, Threshold
from kingyo.kernels.raw_tensor import N_BYTES, AnyTensor, letter_of
from kingyo.kernels.weighted_sum import WeightedSum

_INFINITE_FROM = {"b": 0x7F7F8000, "h": 0x477FF000, "f": 0x7F800000}
"""Bits of the first float32 that each dtype rounds to infinity."""
MAX_SOURCES = 16
_NO_MASK = LoopMask()
_UNMASKED = {letter: LoopTerm(letter) for letter in N_BYTES}


class LoopCall(NamedTuple):
    """One call of a loop on a span; see ``loop_text``."""

    text: str  # text of the loop
    addresses: list[int]  # addresses of entry 0 of base, output and each source; of the ranks of each source
    numbers: list[float]  # scale and least variance; per source factor, share, and two of its mask
    words: list[int]  # bytes per entry of the output, whether to bypass the caches; per source two keys
    held: list[AnyTensor | Ranks]  # tensors and ranks that must live while the loop runs
    span: Span = (0, 0)  # range of entries


CallArguments = tuple[str, NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32], NDArray[np.int64]]


def call_arguments(calls: Sequence[LoopCall]) -> CallArguments:
    """Return the first arguments of functions in ``compiled_loops``: arrays, a row per call of one loop."""
    return (
        calls[0].text,
        np.array([call.addresses for call in calls], dtype=np.uint64),
        np.array([call.numbers for call in calls], dtype=np.float32),
        np.array([call.words for call in calls], dtype=np.uint32),
        np.array([call.span for call in calls], dtype=np.int64),
    )


def has_nan(largest: int) -> bool:
    """Return whether the bits of the largest magnitude are NaN."""
    return largest > _INFINITE_FROM["f"]


def overflows(largest: int, dtype: object) -> bool:
    """Return whether the bits of the largest magnitude are NaN, or round to infinity in a dtype."""
    return largest >= _INFINITE_FROM[letter_of(dtype) or "f"]


class SumLoop(NamedTuple):
    """A weighted sum as a loop reads it."""

    call: LoopCall  # its call, without an output and a span, and for the least sizes of index 0
    thresholds: list[tuple[int, Threshold]]  # with the places of their least sizes among the numbers

    def calls(self, span: Span, address: int = 0) -> list[LoopCall]:
        """Return the calls for a span: one, and one more for each threshold whose least size changes in it.

        ``address`` is the address that entry 0 of the output has, or would have.
        """
        text, addresses, _, words, held, _ = self.call
        addresses = [addresses[0], address % 2**64, *addresses[2:]]
        edges = [*span]
        if self.thresholds:
            inside = (each.before for _, each in self.thresholds if span[0] < each.before < span[1])
            edges = sorted({*span, *inside})
        return [
            LoopCall(text, addresses, self._numbers(start), words, held, (start, stop))
            for start, stop in pairwise(edges)
        ]

    def _numbers(self, start: int) -> list[float]:
        """Return the numbers of a call that starts at an index."""
        if not self.thresholds:
            return self.call.numbers
        numbers = self.call.numbers.copy()
        for place, threshold in self.thresholds:
            numbers[place] = threshold.least if start < threshold.before else _next(threshold.least)
        return numbers


def sum_loop(
    weighted: WeightedSum, out: str = "f", result: Result = "sum", *, bypass_caches: bool = False
) -> SumLoop | None:
    """Return a sum as a loop reads it; None if no loop can. For ``out`` and ``result`` see ``LoopForm``."""
    base = "" if weighted.base is None else _letter(weighted.base)
    masks: list[LoopMask] = []
    terms: list[LoopTerm] = []
    for term in weighted.terms:
        mask, letter = _loop_mask(term.mask), _letter(term.source)
        if mask is None or letter is None:
            return None
        masks.append(mask)
        terms.append(_UNMASKED[letter] if mask is _NO_MASK else _loop_term(letter, mask))
    if not 0 < len(masks) <= MAX_SOURCES or base is None:
        return None
    form = LoopForm(
        terms=tuple(terms),
        base=base,
        out=out,
        result=result,
        elect=_elect(weighted),
        normalize=weighted.elect and weighted.normalize,
        most_varied=weighted.most_varied is not None,
        scaled=weighted.scale != 1.0,
    )
    words: list[int] = [N_BYTES[out], bypass_caches]
    for mask in masks:
        words += mask.key or (0, 0)
    return _with_tensors(text(form), weighted, masks, words)


def _letter(tensor: AnyTensor) -> str | None:
    """Return the letter of a tensor's dtype; None if no loop can read the tensor."""
    return letter_of(tensor.dtype) if tensor.is_cpu else None


def _loop_term(letter: str, mask: LoopMask) -> LoopTerm:
    ranks = "" if mask.ranks is None else "r" if mask.ranks.itemsize == 2 else "t"
    return LoopTerm(letter, mask.function, mask.key is not None, ranks)


def _loop_mask(mask: Mask | None) -> LoopMask | None:
    """Return the mask for a loop; None for a user's mask."""
    if mask is None:
        return _NO_MASK
    return mask.loop_mask() if isinstance(mask, CompiledMask) else None


def _elect(weighted: WeightedSum) -> Literal["", "weighted", "equal"]:
    if not weighted.elect:
        return ""
    return "equal" if weighted.equal_votes else "weighted"


def _with_tensors(text: str, weighted: WeightedSum, masks: Sequence[LoopMask], words: list[int]) -> SumLoop:
    given: list[float | Threshold] = [weighted.scale, weighted.most_varied or 0.0]
    for term, mask in zip(weighted.terms, masks, strict=True):
        given += (term.factor, term.share, mask.first, mask.second)
    thresholds = [(place, number) for place, number in enumerate(given) if isinstance(number, Threshold)]
    numbers = cast("list[float]", given)
    for place, threshold in thresholds:
        numbers[place] = threshold.least
    sources = [term.source.contiguous() for term in weighted.terms]
    ranks = [mask.ranks for mask in masks]
    base = None if weighted.base is None else weighted.base.contiguous()
    addresses = [
        0 if base is None else base.data_ptr(),
        0,
        *(source.data_ptr() for source in sources),
        *(0 if each is None else each.ctypes.data for each in ranks),
    ]
    held = [each for each in (base, *sources, *ranks) if each is not None]
    return SumLoop(LoopCall(text, addresses, numbers, words, held), thresholds)


def _next(number: float) -> float:
    """Return the next larger float32; infinity stays."""
    if number == math.inf:
        return number
    (bits,) = struct.unpack("=I", struct.pack("=f", number))  # several times as fast as numpy.nextafter
    return struct.unpack("=f", struct.pack("=I", bits + 1))[0]
