"""Which entries of a task vector are kept: by magnitude, by chance, or by chance that grows with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from kingyo.kernels.blocks import Span
from kingyo.kernels.noise import N_CHANCES, uniform
from kingyo.late import Tensor, torch


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The largest entries by some measure: all above ``least``, and of those that equal it the first ones.

    Attributes:
        least: a float32 value.
        before: of entries that equal ``least``, those whose index is below this belong to the largest.
    """

    least: float
    before: int

    def excludes(self, sizes: Tensor, start: int) -> Tensor:
        """Where an entry is not among the largest; NaN is. ``sizes`` begin at index ``start``."""
        cut = max(0, self.before - start)
        return torch.cat((sizes[:cut] < self.least, sizes[cut:] <= self.least))


SMALLEST_CHANCE = 1e-12
"""What an entry is divided by at least, where it is scaled by one over its chance."""


class Keep(Protocol):
    """Says for each entry of a task vector whether it is kept."""

    def thin(self, delta: Tensor, span: Span) -> None:
        """Set what is not kept to 0, in place.

        Args:
            delta: the entries of the span, in float32.
            span: which they are.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Band:
    """Entries among the largest by magnitude, but for the very largest.

    Attributes:
        low: what is among the largest; None for all entries.
        high: what is too large; None for none.
    """

    low: Limit | None
    high: Limit | None = None

    def thin(self, delta: Tensor, span: Span) -> None:
        """See ``Keep``."""
        sizes = delta.abs()
        if self.low is not None:
            delta.masked_fill_(self.low.excludes(sizes, span[0]), 0.0)
        if self.high is not None:
            others = self.high.excludes(sizes, span[0]).logical_or_(sizes.isnan())
            delta.masked_fill_(others.logical_not_(), 0.0)


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Each entry with the same probability, independently.

    Attributes:
        key: of the random numbers, see ``noise.key_of``.
        density: the probability.
    """

    key: tuple[int, int]
    density: float

    @property
    def threshold(self) -> int:
        """Of the 65,536 numbers that 16 random bits can be, how many keep an entry: the lowest."""
        return math.ceil(float(np.float32(self.density)) * N_CHANCES)

    def thin(self, delta: Tensor, span: Span) -> None:
        """See ``Keep``."""
        numbers = uniform(self.key, *span, delta.device)
        delta.masked_fill_(numbers >= self.threshold / N_CHANCES, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedChance:
    """Each entry with a probability that grows with its rank: least + step · rank, in float32.

    Attributes:
        key: of the random numbers.
        ranks: the rank of each entry, uint16 or int32, flat.
        least: probability of rank 0.
        step: what one rank adds.
        inverse: scale what is kept by one over its probability.
    """

    key: tuple[int, int]
    ranks: Tensor
    least: float
    step: float
    inverse: bool = False

    def thin(self, delta: Tensor, span: Span) -> None:
        """See ``Keep``."""
        chance = self.ranks[span[0] : span[1]].int().float().mul_(float(np.float32(self.step)))
        chance.add_(float(np.float32(self.least)))
        delta.masked_fill_(uniform(self.key, *span, delta.device) >= chance, 0.0)
        if self.inverse:
            delta.div_(chance.clamp_(min=SMALLEST_CHANCE))


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """What a random ``Keep`` decided once, to be used again.

    Attributes:
        bits: uint8; the lowest bit of the first byte is the first entry's, set where it is kept. There are
            ``PADDING`` bytes more than entries need: compiled code reads words.
    """

    bits: Tensor

    PADDING: ClassVar[int] = 8

    @classmethod
    def n_bytes(cls, n: int) -> int:
        """How long ``bits`` are for n entries."""
        return -(-n // 8) + cls.PADDING

    def thin(self, delta: Tensor, span: Span) -> None:
        """See ``Keep``."""
        first = span[0] // 8
        bytes_ = self.bits[first : -(-span[1] // 8)].unsqueeze(1)
        bits = bytes_.bitwise_right_shift(torch.arange(8, dtype=torch.uint8, device=bytes_.device))
        kept = bits.bitwise_and_(1).reshape(-1)[span[0] - 8 * first : span[1] - 8 * first]
        delta.masked_fill_(kept == 0, 0.0)


KNOWN = (Band, Chance, RankedChance, Drawn)
"""What passes know how to compile, and how to move to another device; a user's own is neither."""
