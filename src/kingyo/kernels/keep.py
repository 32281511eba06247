"""Masks: which entries of a task vector are kept, by magnitude, by chance, or by a chance that grows with it.

Everything about a mask is here. Its class says what torch computes (``thin``). A scalar function in
``ENTRIES`` computes the same of one entry, for compiled loops; ``mask`` gives that function its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Span
from kingyo.kernels.noise import N_CHANCES, uniform


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The largest entries by some measure: all above ``least``, and of those that equal it the first ones.

    Attributes:
        least: a float32 value.
        before: of entries that equal ``least``, those whose index is below this belong to the largest.
    """

    least: float
    before: int

    def excludes(self, sizes: Tensor, start: int) -> Tensor:
        """Return where an entry is not among the largest; NaN is. ``sizes`` begin at index ``start``."""
        cut = max(0, self.before - start)
        return torch.cat((sizes[:cut] < self.least, sizes[cut:] <= self.least))


SMALLEST_CHANCE = 1e-12
"""What an entry is divided by at least, where it is scaled by one over its chance."""


class Mask(Protocol):
    """Says for each entry of a task vector whether it is kept."""

    def thin(self, delta: Tensor, span: Span) -> None:
        """Set what is not kept to 0, in place.

        Args:
            delta: the entries of the span, in float32.
            span: which they are.
        """
        ...


class LoopMask(NamedTuple):
    """How a compiled loop computes a ``Mask``.

    Attributes:
        entry: the name of its function in ``ENTRIES``.
        first, second: numbers for that function. Of a limit it gets the least size that is kept: entries of
            this size and larger ones are among the largest.
        key: of its random numbers; None draws none.
        ranks: of all entries, uint16 or int32; None needs none.
    """

    entry: str
    first: float | Threshold = 0.0
    second: float | Threshold = 0.0
    key: tuple[int, int] | None = None
    ranks: Tensor | None = None


class CompiledMask:
    """A ``Mask`` that also runs in compiled loops and on other devices than the processor."""

    def mask(self) -> LoopMask:
        """Return how a compiled loop computes it."""
        raise NotImplementedError

    def moved(self, copy: Callable[[Tensor], Tensor]) -> Mask:
        """Return the same with its tensors on a device, to which ``copy`` takes them."""
        raise NotImplementedError


Number = np.float32
Entry = Callable[[Number, int, int, Number, Number], Number]
"""Returns an entry, or 0. It gets the entry, its random number (0 to 65,535), its rank, and two numbers."""
ENTRIES: dict[str, Entry] = {}
_NONE, _SMALLEST = np.float32(0.0), np.float32(SMALLEST_CHANCE)
_STEP = np.float32(1.0 / N_CHANCES)


def entry(function: Entry) -> Entry:
    """Register a function of one entry. Numba compiles it, so it uses scalars alone."""
    ENTRIES[function.__name__] = function
    return function


@entry
def largest(delta: Number, _draw: int, _rank: int, low: Number, _high: Number) -> Number:
    """Keep what is not below a size; NaN too."""
    return _NONE if abs(delta) < low else delta


@entry
def band(delta: Number, _draw: int, _rank: int, low: Number, high: Number) -> Number:
    """Keep what is not below a size, but for what is too large."""
    return _NONE if abs(delta) < low or abs(delta) >= high else delta


@entry
def by_chance(delta: Number, draw: int, _rank: int, threshold: Number, _: Number) -> Number:
    """Keep what draws a number below a threshold."""
    return delta if draw < np.int32(threshold) else _NONE


@entry
def by_rank(delta: Number, draw: int, rank: int, least: Number, step: Number) -> Number:
    """Keep with the chance least + step · rank."""
    return delta if np.float32(draw) * _STEP < np.float32(rank) * step + least else _NONE


@entry
def by_rank_scaled(delta: Number, draw: int, rank: int, least: Number, step: Number) -> Number:
    """Keep with the chance least + step · rank, and divide by it."""
    chance = np.float32(rank) * step + least
    kept = delta if np.float32(draw) * _STEP < chance else _NONE
    return kept / (_SMALLEST if chance < _SMALLEST else chance)


@dataclass(frozen=True, kw_only=True)
class MagnitudeMask(CompiledMask):
    """Keep entries among the largest by magnitude, but for the very largest.

    Attributes:
        low: what is among the largest; None for all entries.
        high: what is too large; None for none.
    """

    low: Threshold | None
    high: Threshold | None = None

    def thin(self, delta: Tensor, span: Span) -> None:
        """See ``Mask``."""
        sizes = delta.abs()
        if self.low is not None:
            delta.masked_fill_(self.low.excludes(sizes, span[0]), 0.0)
        if self.high is not None:
            others = self.high.excludes(sizes, span[0]).logical_or_(sizes.isnan())
            delta.masked_fill_(others.logical_not_(), 0.0)

    def mask(self) -> LoopMask:
        """See ``CompiledMask``."""
        if self.high is None:
            return LoopMask("largest", self.low or 0.0)
        return LoopMask("band", self.low or 0.0, self.high)

    def moved(self, copy: Callable[[Tensor], Tensor]) -> MagnitudeMask:  # noqa: ARG002
        """See ``CompiledMask``."""
        return self


@dataclass(frozen=True, kw_only=True)
class BernoulliMask(CompiledMask):
    """Keep each entry with the same probability, independently.

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
        """See ``Mask``."""
        numbers = uniform(self.key, *span, delta.device)
        delta.masked_fill_(numbers >= self.threshold / N_CHANCES, 0.0)

    def mask(self) -> LoopMask:
        """See ``CompiledMask``."""
        return LoopMask("by_chance", self.threshold, key=self.key)

    def moved(self, copy: Callable[[Tensor], Tensor]) -> BernoulliMask:  # noqa: ARG002
        """See ``CompiledMask``."""
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedBernoulliMask(CompiledMask):
    """Keep each entry with a probability that grows with its rank: least + step · rank, in float32.

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
        """See ``Mask``."""
        chance = self.ranks[span[0] : span[1]].int().float().mul_(float(np.float32(self.step)))
        chance.add_(float(np.float32(self.least)))
        delta.masked_fill_(uniform(self.key, *span, delta.device) >= chance, 0.0)
        if self.inverse:
            delta.div_(chance.clamp_(min=SMALLEST_CHANCE))

    def mask(self) -> LoopMask:
        """See ``CompiledMask``."""
        name = "by_rank_scaled" if self.inverse else "by_rank"
        return LoopMask(name, self.least, self.step, self.key, self.ranks)

    def moved(self, copy: Callable[[Tensor], Tensor]) -> RankedBernoulliMask:
        """See ``CompiledMask``; other devices know little of uint16."""
        return replace(self, ranks=copy(self.ranks.int()))
