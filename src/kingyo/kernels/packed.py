"""From a blend to the arguments of a compiled pass; and whether it can be compiled at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.kernels.blend import SMALLEST_DIVISOR, Blend, Term
from kingyo.kernels.blocks import STREAM_ALIGNMENT, Span
from kingyo.kernels.keep import Band, Chance, Keep, Limit, RankedChance

_LETTERS = {torch.bfloat16: "b", torch.float16: "h", torch.float32: "f"}
_LARGEST_FINITE = {"b": 0x7F7F8000, "h": 0x477FF000, "f": 0x7F800000}
"""Bits of the first float32 that each dtype rounds to infinity."""
MOST_SOURCES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
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
    held: tuple[Tensor, ...] = field(repr=False)

    @property
    def arguments(self) -> tuple[str, NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32]]:
        """What a function of ``fused`` takes first."""
        return self.text, self.addresses, self.numbers, self.keys


def can_be_packed(tensors: Sequence[Tensor]) -> bool:
    """Whether a compiled pass can read these tensors."""
    return len(tensors) <= MOST_SOURCES + 1 and all(
        tensor.device.type == "cpu" and tensor.dtype in _LETTERS for tensor in tensors
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
    streams: bool = False,
) -> Iterator[tuple[Packed, Span]]:
    """Split a span of a blend into passes: a limit's comparison changes where its last equal entry is.

    Args:
        blend: what to compute or to measure.
        span: which elements.
        address: where element 0 of the output is, or would be.
        out: the output's dtype.
        switches: further ones, see ``fused``.
        streams: whether the output goes past the caches, where its place allows it.
    """
    edges = sorted({span[0], span[1], *(cut for cut in cuts(blend) if span[0] < cut < span[1])})
    for start, stop in pairwise(edges):
        letter = _LETTERS[out]
        is_aligned = start % 2 == 0 and (address + start * out.itemsize) % STREAM_ALIGNMENT == 0
        if streams and is_aligned:  # random lanes begin at an even index
            letter = letter.upper()
        yield _pack(blend, start, address, letter, switches), (start, stop)


def cuts(blend: Blend) -> Iterator[int]:
    """The indices behind the last equal entry that a limit keeps."""
    for term in blend.terms:
        if isinstance(term.keep, Band):
            yield from (limit.before for limit in (term.keep.low, term.keep.high) if limit is not None)
    if blend.spread is not None:
        yield blend.spread.before


def _pack(blend: Blend, start: int, address: int, out: str, switches: str) -> Packed:
    sources = [term.source.reshape(-1) for term in blend.terms]
    base = None if blend.base is None else blend.base.reshape(-1)
    kept = [_kept(term, start) for term in blend.terms]
    ranks = [term.keep.ranks if isinstance(term.keep, RankedChance) else None for term in blend.terms]
    addresses = [
        0 if base is None else base.data_ptr(),
        address % 2**64,
        *(source.data_ptr() for source in sources),
    ]
    addresses += [0 if table is None else table.data_ptr() for table in ranks]
    numbers = [blend.scale, 0.0 if blend.spread is None else least(blend.spread, start)]
    for term, (_, first, second) in zip(blend.terms, kept, strict=True):
        numbers += [term.factor, term.share, first, second]
    switches += "e" if blend.elect else ""
    switches += "q" if blend.elect and blend.equal_votes else ""
    switches += "n" if blend.elect and blend.normalize else ""
    switches += "p" if blend.elect and blend.normalize and _all_positive(blend) else ""
    switches += "s" if blend.spread is not None else ""
    switches += "x" if blend.scale != 1.0 else ""
    parts = (
        "".join(_LETTERS[source.dtype] for source in sources),
        "-" if base is None else _LETTERS[base.dtype],
        out,
        "".join(letter for letter, _, _ in kept),
        switches,
    )
    return Packed(
        text="/".join(parts),
        addresses=np.array(addresses, dtype=np.uint64),
        numbers=np.array(numbers, dtype=np.float32),
        keys=np.array([word for term in blend.terms for word in _key(term.keep)], dtype=np.uint32),
        held=(*sources, *([] if base is None else [base]), *(each for each in ranks if each is not None)),
    )


def _all_positive(blend: Blend) -> bool:
    return all(term.share >= 2 * SMALLEST_DIVISOR for term in blend.terms)


def least(limit: Limit, start: int) -> float:
    """The least value that is kept from an index on."""
    if start < limit.before:
        return limit.least
    return float(np.nextafter(np.float32(limit.least), np.float32(np.inf)))


def _kept(term: Term, start: int) -> tuple[str, float, float]:
    keep = term.keep
    if keep is None:
        return ".", 0.0, 0.0
    if isinstance(keep, Band):
        low = 0.0 if keep.low is None else least(keep.low, start)
        return ("l", low, 0.0) if keep.high is None else ("m", low, least(keep.high, start))
    if isinstance(keep, Chance):
        return "c", math.ceil(float(np.float32(keep.density)) * 2.0**16), 0.0  # of 16 random bits
    assert isinstance(keep, RankedChance)
    letter = "r" if keep.ranks.dtype == torch.uint16 else "t"
    return (letter.upper() if keep.inverse else letter), keep.least, keep.step


def _key(keep: Keep | None) -> tuple[int, int]:
    return keep.key if isinstance(keep, Chance | RankedChance) else (0, 0)
