"""Masks: which entries of a task vector are kept, by magnitude or at random; and the random numbers.

A mask's class says what torch computes (``apply``). A scalar function in ``ENTRY_FUNCTIONS`` computes the
same for one entry in compiled loops, and ``loop_mask`` gives that function its arguments.

Random numbers have no state: they are a hash of seed, source, tensor name and index of the entry. So
candidates of a search share them: a mask of low density is a subset of one of higher density.

Two entries share a hash: half of their index is mixed by two multiplications and three xor-shifts
(``lowbias32``, C. Wellons, "Prospecting for Hash Functions", 2018), with a 32-bit key before each
multiplication. The even entry takes the lower 16 bits, the odd entry the upper.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels.blocks import Span

N_VALUES = 1 << 16
"""Number of values of a random number."""
FIRST, SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of the hash."""


def uniform(key: tuple[int, int], start: int, stop: int, device: torch.device | None = None) -> Tensor:
    """Return the random numbers of the entries start..stop-1: float32, multiples of 2^-16 in [0, 1).

    For ``key`` see ``key_of``. Half an index counts modulo 2^32.
    """
    first, last = start // 2, (stop + 1) // 2
    bits = torch.arange(first, last, device=device).to(torch.int32)
    bits.bitwise_xor_(_signed(key[0]))
    bits.bitwise_xor_(_shifted(bits, 16)).mul_(FIRST)
    bits.bitwise_xor_(_signed(key[1]))
    bits.bitwise_xor_(_shifted(bits, 15)).mul_(_signed(SECOND))
    bits.bitwise_xor_(_shifted(bits, 16))
    halves = torch.stack((bits & 0xFFFF, _shifted(bits, 16)), dim=1).float()
    return halves.reshape(-1)[start - 2 * first : stop - 2 * first].mul_(2.0**-16)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word  # int32, since torch can do little with uint32


def _shifted(bits: Tensor, n: int) -> Tensor:
    return (bits >> n).bitwise_and_((1 << (32 - n)) - 1)


@lru_cache(maxsize=1 << 14)
def key_of(seed: int, source: int, tensor: str) -> tuple[int, int]:
    """Return two 32-bit words for a seed, the position of a source and the name of a tensor."""
    digest = hashlib.sha256(f"{seed}/{source}/{tensor}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


SMALLEST_PROBABILITY = 1e-12
"""Entries that are divided by their probability are divided by at least this."""
Copy = Callable[[Tensor], Tensor]
"""Copies a tensor to a device."""
Ranks = NDArray[np.uint16] | NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Selects the largest entries: those above ``least``, and the first of those equal to it."""

    least: float  # a float32 value
    before: int  # entries equal to ``least`` are selected if their index is below this

    def excludes(self, sizes: Tensor, start: int) -> Tensor:
        """Return where entries are not selected. NaN is selected. ``sizes`` begin at index ``start``."""
        cut = max(0, self.before - start)
        return torch.cat((sizes[:cut] < self.least, sizes[cut:] <= self.least))


class Mask(Protocol):
    """Selects entries of a task vector."""

    def apply(self, delta: Tensor, span: Span) -> None:
        """Set the entries of a span (float32) that are not selected to 0, in place."""


class LoopMask(NamedTuple):
    """A mask for a compiled loop."""

    function: str = ""  # name of its function in ``ENTRY_FUNCTIONS``; empty keeps everything
    first: float | Threshold = 0.0  # a number for it; of a threshold, the least size selected at an index
    second: float | Threshold = 0.0  # another
    key: tuple[int, int] | None = None  # key of its random numbers; None draws none
    ranks: Ranks | None = None  # ranks of all entries; None needs none


class CompiledMask(Mask):
    """A mask that also runs in compiled loops and on other devices."""

    def loop_mask(self) -> LoopMask | None:
        """Return None if no loop can compute it."""
        raise NotImplementedError

    def on_device(self, copy: Copy) -> Mask:  # noqa: ARG002
        """Return the mask with its tensors copied to a device."""
        return self


Number = np.float32
EntryFunction = Callable[[Number, int, int, Number, Number], Number]
"""Returns an entry, or 0. Arguments: entry, random number (0 to 65,535), rank, and two numbers."""
ENTRY_FUNCTIONS: dict[str, EntryFunction] = {}
_ZERO, _SMALLEST = np.float32(0.0), np.float32(SMALLEST_PROBABILITY)
_STEP = np.float32(1.0 / N_VALUES)


def entry_function(function: EntryFunction) -> EntryFunction:
    """Register a function of one entry. Numba compiles it, so it may use scalars only."""
    ENTRY_FUNCTIONS[function.__name__] = function
    return function


@entry_function
def largest(delta: Number, _draw: int, _rank: int, low: Number, _high: Number) -> Number:
    return _ZERO if abs(delta) < low else delta


@entry_function
def between(delta: Number, _draw: int, _rank: int, low: Number, high: Number) -> Number:
    return _ZERO if abs(delta) < low or abs(delta) >= high else delta


@entry_function
def bernoulli(delta: Number, draw: int, _rank: int, threshold: Number, _: Number) -> Number:
    return delta if draw < np.int32(threshold) else _ZERO


@entry_function
def ranked_bernoulli(delta: Number, draw: int, rank: int, least: Number, step: Number) -> Number:
    return delta if np.float32(draw) * _STEP < np.float32(rank) * step + least else _ZERO


@entry_function
def rescaled_ranked_bernoulli(delta: Number, draw: int, rank: int, least: Number, step: Number) -> Number:
    probability = np.float32(rank) * step + least
    kept = delta if np.float32(draw) * _STEP < probability else _ZERO
    return kept / (_SMALLEST if probability < _SMALLEST else probability)


@dataclass(frozen=True, kw_only=True)
class MagnitudeMask(CompiledMask):
    """Keep the largest entries by magnitude, optionally without the very largest."""

    low: Threshold | None  # selects the largest; None selects all
    high: Threshold | None = None  # selects the very largest, which are dropped; None drops none

    def apply(self, delta: Tensor, span: Span) -> None:
        sizes = delta.abs()
        if self.low is not None:
            delta.masked_fill_(self.low.excludes(sizes, span[0]), 0.0)
        if self.high is not None:
            others = self.high.excludes(sizes, span[0]).logical_or_(sizes.isnan())
            delta.masked_fill_(others.logical_not_(), 0.0)

    def loop_mask(self) -> LoopMask:
        if self.high is None:
            return LoopMask("largest", self.low or 0.0)
        return LoopMask("between", self.low or 0.0, self.high)


@dataclass(frozen=True, kw_only=True)
class BernoulliMask(CompiledMask):
    """Keep each entry with the same probability, independently."""

    key: tuple[int, int]  # key of the random numbers; see ``key_of``
    density: float  # the probability

    @property
    def threshold(self) -> int:
        """Entries whose 16-bit random number is below it are kept."""
        return math.ceil(float(np.float32(self.density)) * N_VALUES)

    def apply(self, delta: Tensor, span: Span) -> None:
        numbers = uniform(self.key, *span, delta.device)
        delta.masked_fill_(numbers >= self.threshold / N_VALUES, 0.0)

    def loop_mask(self) -> LoopMask:
        return LoopMask("bernoulli", self.threshold, key=self.key)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedBernoulliMask(CompiledMask):
    """Keep each entry with a probability that grows with its rank: least + step · rank, in float32."""

    key: tuple[int, int]  # key of the random numbers
    ranks: Ranks | Tensor  # the rank of each entry, uint16 or int32, flat; a tensor on another device
    least: float  # probability of rank 0
    step: float  # increase of the probability per rank
    inverse: bool = False  # divide kept entries by their probability

    def apply(self, delta: Tensor, span: Span) -> None:
        ranks = torch.as_tensor(self.ranks[span[0] : span[1]])
        probability = ranks.int().float().mul_(float(np.float32(self.step)))
        probability.add_(float(np.float32(self.least)))
        delta.masked_fill_(uniform(self.key, *span, delta.device) >= probability, 0.0)
        if self.inverse:
            delta.div_(probability.clamp_(min=SMALLEST_PROBABILITY))

    def loop_mask(self) -> LoopMask | None:
        if not isinstance(self.ranks, np.ndarray) or self.ranks.dtype != np.uint16:
            return None
        name = "rescaled_ranked_bernoulli" if self.inverse else "ranked_bernoulli"
        return LoopMask(name, self.least, self.step, self.key, self.ranks)

    def on_device(self, copy: Copy) -> RankedBernoulliMask:
        # other devices have few operations for uint16
        return replace(self, ranks=copy(torch.as_tensor(self.ranks).int()))
