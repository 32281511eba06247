"""From a blend to the arguments of a compiled pass; and whether it can be compiled at all."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels.blend import SMALLEST_DIVISOR, Blend
from kingyo.kernels.blocks import Span
from kingyo.kernels.keep import KNOWN, Band, Chance, Drawn, Keep, Limit, RankedChance
from kingyo.kernels.raw import letter_of
from kingyo.late import Tensor

_LARGEST_FINITE = {"b": 0x7F7F8000, "h": 0x477FF000, "f": 0x7F800000}
"""Bits of the first float32 that each dtype rounds to infinity."""
MOST_SOURCES = 16
SHARED, PER_SOURCE = 2, 4
"""How many numbers a pass has: scale and spread; then of each source factor, share, two of what is kept."""


class Packed(NamedTuple):
    """One compiled pass; see ``fused``.

    Attributes:
        text: its description.
        addresses, numbers, keys: its arguments, as plain numbers: many passes make their arrays together.
        held: tensors that must live while it runs.
    """

    text: str
    addresses: list[int]
    numbers: list[float]
    keys: list[int]
    held: list[Tensor]

    @property
    def arguments(self) -> tuple[str, NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32]]:
        """What a function of ``fused`` takes first."""
        return (
            self.text,
            np.array(self.addresses, dtype=np.uint64),
            np.array(self.numbers, dtype=np.float32),
            np.array(self.keys, dtype=np.uint32),
        )


def has_nan(worst: int) -> bool:
    """Whether the bits of the largest magnitude are NaN."""
    return worst > _LARGEST_FINITE["f"]


def overflows(worst: int, dtype: object) -> bool:
    """Whether the bits of the largest magnitude are NaN, infinite, or become so in a dtype."""
    return worst >= _LARGEST_FINITE[letter_of(dtype) or "f"]


class Passes(NamedTuple):
    """A blend as compiled passes read it.

    Attributes:
        packed: their arguments, without an output, and without limits.
        limits: of the blend, and where the least value that each keeps stands among the numbers.
    """

    packed: Packed
    limits: list[tuple[int, Limit]]

    def over(self, span: Span, address: int = 0) -> list[tuple[Packed, Span]]:
        """The passes over a span: a limit's comparison changes where its last equal entry is.

        Args:
            span: which elements.
            address: where element 0 of the output is, or would be.
        """
        text, addresses, _, keys, held = self.packed
        addresses = [addresses[0], address % 2**64, *addresses[2:]]
        if not self.limits:
            return [(Packed(text, addresses, self.packed.numbers, keys, held), span)]
        edges = {*span, *(limit.before for _, limit in self.limits if span[0] < limit.before < span[1])}
        passes: list[tuple[Packed, Span]] = []
        for start, stop in pairwise(sorted(edges)):
            numbers = self.packed.numbers.copy()
            for place, limit in self.limits:
                numbers[place] = limit.least if start < limit.before else _next(limit.least)
            passes.append((Packed(text, addresses, numbers, keys, held), (start, stop)))
        return passes

    def cuts(self, span: Span) -> list[int]:
        """The places within a span behind the last equal entry that a limit keeps."""
        return [limit.before for _, limit in self.limits if span[0] < limit.before < span[1]]


def drawn_first(passes: Passes, bits: Mapping[int, int]) -> tuple[Passes, dict[int, Packed]]:
    """Split a blend into what draws some of its sources, and the blend of what is drawn.

    Args:
        passes: the blend; what is kept of these sources depends on chance.
        bits: of each, where a bit of every entry goes; by the positions of the sources.

    Returns:
        The blend, which reads these bits; and of each source the pass that writes them, and sums the rounded
        magnitudes of what is kept.
    """
    text, addresses, numbers, keys, held = passes.packed
    dtypes, on, out, kinds, *switches = text.split("/")
    n = len(dtypes)
    first: dict[int, Packed] = {}
    left, tables = list(kinds), addresses[2 + n :]
    for k, address in bits.items():
        place = SHARED + PER_SOURCE * k
        first[k] = Packed(
            f"{dtypes[k]}/{on}/b/{kinds[k]}/kw",
            [addresses[0], address % 2**64, addresses[2 + k], tables[k]],
            [1.0, 0.0, 1.0, 1.0, *numbers[place + 2 : place + 4]],
            keys[2 * k : 2 * k + 2],
            held,
        )
        left[k], tables[k] = "d", address
    text = "/".join([dtypes, on, out, "".join(left), *switches])
    return Passes(Packed(text, [*addresses[: 2 + n], *tables], numbers, keys, held), passes.limits), first


def pack(blend: Blend, out: str = "f", switches: str = "") -> Passes | None:
    """Describe a blend to compiled passes.

    Args:
        blend: what to compute or to measure.
        out: the letter of the output's dtype; a capital writes past the caches.
        switches: further ones, see ``fused``.

    Returns:
        None where a compiled pass cannot read this blend.
    """
    packed = _pack(blend, out, switches)
    return None if packed is None else Passes(packed, _limits(blend))


def _next(number: float) -> float:
    """The next larger float32; infinity has none."""
    if number == math.inf:
        return number
    return struct.unpack("=f", struct.pack("=I", struct.unpack("=I", struct.pack("=f", number))[0] + 1))[0]


def _limits(blend: Blend) -> list[tuple[int, Limit]]:
    """The limits of a blend, and where the least value that each keeps stands among the numbers."""
    found = [] if blend.spread is None else [(1, blend.spread)]
    for k, term in enumerate(blend.terms):
        if isinstance(term.keep, Band):
            place = SHARED + PER_SOURCE * k + 2
            found += [] if term.keep.low is None else [(place, term.keep.low)]
            found += [] if term.keep.high is None else [(place + 1, term.keep.high)]
    return found


def _pack(blend: Blend, out: str, switches: str) -> Packed | None:
    base, on = blend.base, "-"
    held: list[Tensor] = []
    addresses = [0, 0]  # the output comes later
    if not 0 < len(blend.terms) <= MOST_SOURCES:
        return None
    if base is not None:
        letter = letter_of(base.dtype)
        if letter is None or not base.is_cpu:
            return None
        base, on = base.contiguous(), letter
        held.append(base)
        addresses[0] = base.data_ptr()
    numbers = [blend.scale, 0.0]  # limits come later
    dtypes, kinds = "", ""
    keys: list[int] = []
    tables: list[int] = []
    for term in blend.terms:
        source, keep = term.source, term.keep
        letter = letter_of(source.dtype)
        if letter is None or not source.is_cpu or not (keep is None or type(keep) in KNOWN):
            return None
        source = source.contiguous()
        held.append(source)
        addresses.append(source.data_ptr())
        dtypes += letter
        kind, first, second, key, table = _ALL if keep is None else _kept(keep)
        kinds += kind
        numbers += (term.factor, term.share, first, second)
        keys += key
        tables.append(0 if table is None else table.data_ptr())
        if table is not None:
            held.append(table)
    text = f"{dtypes}/{on}/{out}/{kinds}/{switches}{_switches(blend)}"
    return Packed(text, addresses + tables, numbers, keys, held)


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
    table: Tensor | None = None


_ALL, _LARGEST, _BAND = _Kept("."), _Kept("l"), _Kept("m")


def _kept(keep: Keep) -> _Kept:
    if isinstance(keep, Band):
        return _LARGEST if keep.high is None else _BAND
    if isinstance(keep, Chance):
        return _Kept("c", keep.threshold, key=keep.key)
    if isinstance(keep, Drawn):
        return _Kept("d", table=keep.bits)
    assert isinstance(keep, RankedChance)
    letter = "r" if keep.ranks.element_size() == 2 else "t"
    return _Kept(
        letter.upper() if keep.inverse else letter, keep.least, keep.step, key=keep.key, table=keep.ranks
    )
