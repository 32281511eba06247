"""From a blend to the arguments of a compiled loop; and whether it can be compiled at all."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.blend import WeightedSum
from kingyo.kernels.blocks import Span
from kingyo.kernels.keep import CompiledMask, LoopMask, Mask, Threshold
from kingyo.kernels.loops import LoopForm, LoopTerm, text
from kingyo.kernels.raw import letter_of

_LARGEST_FINITE = {"b": 0x7F7F8000, "h": 0x477FF000, "f": 0x7F800000}
"""Bits of the first float32 that each dtype rounds to infinity."""
_BYTES = {"b": 2, "h": 2, "f": 4}
MOST_SOURCES = 16
_ALL = LoopMask("")


class Packed(NamedTuple):
    """The arguments of one compiled loop; see ``loops``.

    Attributes:
        text: the loop.
        addresses: of element 0 of base, output and sources; of the ranks of each source.
        numbers: scale and spread; of each source factor, share, and the two of its mask.
        words: bytes of an output's element, whether it goes past the caches; two keys of each source.
        held: tensors that must live while it runs.
    """

    text: str
    addresses: list[int]
    numbers: list[float]
    words: list[int]
    held: list[Tensor]


Arguments = tuple[str, NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32], NDArray[np.int64]]


def arguments(passes: Sequence[tuple[Packed, Span]]) -> Arguments:
    """Return what functions of ``fused`` take first: passes of one loop, a row of each array for each."""
    return (
        passes[0][0].text,
        np.array([packed.addresses for packed, _ in passes], dtype=np.uint64),
        np.array([packed.numbers for packed, _ in passes], dtype=np.float32),
        np.array([packed.words for packed, _ in passes], dtype=np.uint32),
        np.array([span for _, span in passes], dtype=np.int64),
    )


def has_nan(worst: int) -> bool:
    """Return whether the bits of the largest magnitude are NaN."""
    return worst > _LARGEST_FINITE["f"]


def overflows(worst: int, dtype: object) -> bool:
    """Return whether the bits of the largest magnitude are NaN, infinite, or become so in a dtype."""
    return worst >= _LARGEST_FINITE[letter_of(dtype) or "f"]


class Passes(NamedTuple):
    """A blend as a compiled loop reads it.

    Attributes:
        packed: its arguments, without an output, and without limits.
        limits: of the blend, and where the least size that each keeps stands among the numbers.
    """

    packed: Packed
    limits: list[tuple[int, Threshold]]

    def over(self, span: Span, address: int = 0) -> list[tuple[Packed, Span]]:
        """Return the passes over a span: a limit's least size changes where its last equal entry is.

        Args:
            span: which elements.
            address: where element 0 of the output is, or would be.
        """
        text, addresses, _, words, held = self.packed
        addresses = [addresses[0], address % 2**64, *addresses[2:]]
        edges = [*span]
        if self.limits:
            edges = sorted(
                {*span, *(limit.before for _, limit in self.limits if span[0] < limit.before < span[1])}
            )
        return [
            (Packed(text, addresses, self._numbers(start), words, held), (start, stop))
            for start, stop in pairwise(edges)
        ]

    def _numbers(self, start: int) -> list[float]:
        """Return the numbers of a pass that begins at an element."""
        if not self.limits:
            return self.packed.numbers
        numbers = self.packed.numbers.copy()
        for place, limit in self.limits:
            numbers[place] = limit.least if start < limit.before else _next(limit.least)
        return numbers


def pack(
    blend: WeightedSum,
    out: str = "f",
    result: Literal["blend", "rows", "size", "variance"] = "blend",
    *,
    past: bool = False,
) -> Passes | None:
    """Describe a blend to a compiled loop.

    Args:
        blend: what to compute or to measure.
        out: the letter of the output's dtype.
        result: see ``LoopForm``.
        past: whether to write past the caches.

    Returns:
        None where no compiled loop can read this blend.
    """
    base, base_letter = blend.base, "" if blend.base is None else _letter(blend.base)
    letters, masks = (
        [_letter(term.source) for term in blend.terms],
        [_mask(term.keep) for term in blend.terms],
    )
    if not 0 < len(masks) <= MOST_SOURCES or base_letter is None or None in letters or None in masks:
        return None
    numbers: list[float | Threshold] = [blend.scale, blend.spread or 0.0]
    words: list[int] = [_BYTES[out], past]
    parts: list[LoopTerm] = []
    held: list[Tensor | None] = [None if base is None else base.contiguous(), None]
    tables: list[Tensor | None] = []
    for term, letter, mask in zip(blend.terms, letters, masks, strict=True):
        assert letter is not None and mask is not None
        numbers += (term.factor, term.share, mask.first, mask.second)
        words += mask.key or (0, 0)
        parts.append(_part(letter, mask))
        held.append(term.source.contiguous())
        tables.append(mask.ranks)
    form = LoopForm(tuple(parts), base_letter, out, result, _elect(blend), *_switches(blend))
    return _passes(text(form), [*held, *tables], numbers, words)


def _letter(tensor: Tensor) -> str | None:
    """Return the letter of a dtype; None where no compiled loop can read the tensor."""
    return letter_of(tensor.dtype) if tensor.is_cpu else None


def _mask(keep: Mask | None) -> LoopMask | None:
    """Return how a loop computes what is kept; None of a user's own ``Mask``."""
    if keep is None:
        return _ALL
    return keep.mask() if isinstance(keep, CompiledMask) else None


def _part(letter: str, mask: LoopMask) -> LoopTerm:
    ranks = "" if mask.ranks is None else "r" if mask.ranks.element_size() == 2 else "t"
    return LoopTerm(letter, mask.entry, mask.key is not None, ranks)


def _elect(blend: WeightedSum) -> Literal["", "weighted", "equal"]:
    if not blend.elect:
        return ""
    return "equal" if blend.equal_votes else "weighted"


def _switches(blend: WeightedSum) -> tuple[bool, bool, bool]:
    """Return the last three of a ``LoopForm``."""
    return blend.elect and blend.normalize, blend.spread is not None, blend.scale != 1.0


def _passes(
    text: str, read: Sequence[Tensor | None], numbers: Sequence[float | Threshold], words: list[int]
) -> Passes:
    limits = [(place, number) for place, number in enumerate(numbers) if isinstance(number, Threshold)]
    least = [number.least if isinstance(number, Threshold) else number for number in numbers]
    addresses = [0 if tensor is None else tensor.data_ptr() for tensor in read]
    return Passes(Packed(text, addresses, least, words, [each for each in read if each is not None]), limits)


def _next(number: float) -> float:
    """Return the next larger float32; infinity has none."""
    if number == math.inf:
        return number
    return struct.unpack("=f", struct.pack("=I", struct.unpack("=I", struct.pack("=f", number))[0] + 1))[0]
