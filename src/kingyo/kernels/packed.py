"""From a blend to the arguments of a compiled pass; and whether it can be compiled at all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.kernels.blend import SMALLEST_DIVISOR, Blend, Term
from kingyo.kernels.blocks import Span
from kingyo.kernels.keep import Band, Chance, Limit, RankedChance

_LETTERS = {torch.bfloat16: "b", torch.float16: "h", torch.float32: "f"}
_LARGEST_FINITE = {"b": 0x7F7F8000, "h": 0x477FF000, "f": 0x7F800000}
"""Bits of the first float32 that each dtype rounds to infinity."""
_KNOWN = (Band, Chance, RankedChance)
MOST_SOURCES = 16
SHARED, PER_SOURCE = 2, 4
"""How many numbers a pass has: scale and spread; then of each source factor, share, two of what is kept."""


class Packed(NamedTuple):
    """The arguments of one compiled pass; see ``fused``.

    Attributes:
        text: its description.
        addresses, numbers, keys: its arguments.
        held: tensors that must live while it runs.
    """

    text: str
    addresses: NDArray[np.uint64]
    numbers: NDArray[np.float32]
    keys: NDArray[np.uint32]
    held: tuple[Tensor, ...]

    @property
    def arguments(self) -> tuple[str, NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32]]:
        """What a function of ``fused`` takes first."""
        return self.text, self.addresses, self.numbers, self.keys


def can_be_packed(blend: Blend, out: Tensor | None = None) -> bool:
    """Whether a compiled pass can read this blend, and write it to a place."""
    tensors = [*(term.source for term in blend.terms), blend.base, out]
    return (
        0 < len(blend.terms) <= MOST_SOURCES
        and all(each is None or (each.is_cpu and each.dtype in _LETTERS) for each in tensors)
        and all(term.keep is None or type(term.keep) in _KNOWN for term in blend.terms)
    )


def has_nan(worst: int) -> bool:
    """Whether the bits of the largest magnitude are NaN."""
    return worst > _LARGEST_FINITE["f"]


def overflows(worst: int, dtype: torch.dtype) -> bool:
    """Whether the bits of the largest magnitude are NaN, infinite, or become so in a dtype."""
    return worst >= _LARGEST_FINITE[_LETTERS[dtype]]


def pack(
    blend: Blend,
    span: Span,
    address: int = 0,
    out: torch.dtype = torch.float32,
    switches: str = "",
) -> Iterator[tuple[Packed, Span]]:
    """Split a span of a blend into passes: a limit's comparison changes where its last equal entry is.

    Args:
        blend: what to compute or to measure.
        span: which elements.
        address: where element 0 of the output is, or would be.
        out: the output's dtype.
        switches: further ones, see ``fused``.
    """
    limits = _limits(blend)
    edges = {*span, *(limit.before for _, limit in limits if span[0] < limit.before < span[1])}
    packed = _pack(blend, address, _LETTERS[out], switches)
    for start, stop in pairwise(sorted(edges)):
        numbers = packed.numbers.copy() if limits else packed.numbers
        for place, limit in limits:
            numbers[place] = limit.least
            if start >= limit.before and limit.least < math.inf:
                numbers.view(np.uint32)[place] += 1  # the next larger float32
        yield Packed(packed.text, packed.addresses, numbers, packed.keys, packed.held), (start, stop)


def cuts(blend: Blend) -> list[int]:
    """The indices behind the last equal entry that a limit keeps."""
    return [limit.before for _, limit in _limits(blend)]


def _limits(blend: Blend) -> list[tuple[int, Limit]]:
    """The limits of a blend, and where the least value that each keeps stands among the numbers."""
    found = [] if blend.spread is None else [(1, blend.spread)]
    for k, term in enumerate(blend.terms):
        if isinstance(term.keep, Band):
            place = SHARED + PER_SOURCE * k + 2
            found += [] if term.keep.low is None else [(place, term.keep.low)]
            found += [] if term.keep.high is None else [(place + 1, term.keep.high)]
    return found


def _pack(blend: Blend, address: int, out: str, switches: str) -> Packed:
    base = blend.base
    held = [] if base is None else [base.contiguous()]
    addresses = [0 if base is None else held[0].data_ptr(), address % 2**64]
    numbers = [blend.scale, 0.0]  # limits come later
    dtypes, kinds = "", ""
    keys: list[int] = []
    tables: list[int] = []
    for term in blend.terms:
        kept = _kept(term)
        source = term.source.contiguous()
        held.append(source)
        addresses.append(source.data_ptr())
        dtypes += _LETTERS[source.dtype]
        kinds += kept.letter
        numbers += (term.factor, term.share, kept.first, kept.second)
        keys += kept.key
        tables.append(0 if kept.ranks is None else kept.ranks.data_ptr())
        if kept.ranks is not None:
            held.append(kept.ranks)
    on = "-" if base is None else _LETTERS[base.dtype]
    return Packed(
        text=f"{dtypes}/{on}/{out}/{kinds}/{switches}{_switches(blend)}",
        addresses=np.array(addresses + tables, dtype=np.uint64),
        numbers=np.array(numbers, dtype=np.float32),
        keys=np.array(keys, dtype=np.uint32),
        held=tuple(held),
    )


def _switches(blend: Blend) -> str:
    found = ""
    if blend.elect:
        found += "eq" if blend.equal_votes else "e"
        if blend.normalize:
            found += "np" if _all_positive(blend) else "n"
    if blend.spread is not None:
        found += "s"
    return f"{found}x" if blend.scale != 1.0 else found


def _all_positive(blend: Blend) -> bool:
    return all(term.share >= 2 * SMALLEST_DIVISOR for term in blend.terms)


class _Kept(NamedTuple):
    """What a description and its arguments say of a ``Keep``."""

    letter: str
    first: float = 0.0
    second: float = 0.0
    key: tuple[int, int] = (0, 0)
    ranks: Tensor | None = None


_ALL, _LARGEST, _BAND = _Kept("."), _Kept("l"), _Kept("m")


def _kept(term: Term) -> _Kept:
    keep = term.keep
    if keep is None:
        return _ALL
    if isinstance(keep, Band):
        return _LARGEST if keep.high is None else _BAND
    if isinstance(keep, Chance):
        return _Kept("c", keep.threshold, key=keep.key)
    assert isinstance(keep, RankedChance)
    letter = "r" if keep.ranks.dtype == torch.uint16 else "t"
    return _Kept(
        letter.upper() if keep.inverse else letter, keep.least, keep.step, key=keep.key, ranks=keep.ranks
    )
