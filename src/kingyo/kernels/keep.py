"""Which entries of a task vector are kept: by magnitude, by chance, or by chance that grows with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kingyo.kernels.blocks import Span
from kingyo.kernels.noise import uniform


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The largest entries by some measure: all above ``least``, and of those that equal it the first ones.

    Attributes:
        least: a float32 value.
        before: of entries that equal ``least``, those whose index is below this belong to the largest.
    """

    least: float
    before: int

    def holds(self, sizes: Tensor, start: int) -> Tensor:
        """1 where an entry is among the largest, else 0, in float32; ``sizes`` begin at index ``start``."""
        cut = max(0, self.before - start)
        mask = torch.empty_like(sizes)
        torch.ge(sizes[:cut], self.least, out=mask[:cut])
        torch.gt(sizes[cut:], self.least, out=mask[cut:])
        return mask


class Keep(Protocol):
    """Says for each entry of a task vector whether it is kept."""

    def mask(self, delta: Tensor, span: Span) -> Tensor:
        """1 where an entry of the span is kept, else 0, in float32.

        Args:
            delta: the entries of the span; never written to.
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

    def mask(self, delta: Tensor, span: Span) -> Tensor:
        """See ``Keep``."""
        sizes = delta.abs()
        kept = torch.ones_like(sizes) if self.low is None else self.low.holds(sizes, span[0])
        return kept if self.high is None else kept.sub_(self.high.holds(sizes, span[0]))


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Each entry with the same probability, independently.

    Attributes:
        key: of the random numbers, see ``noise.key_of``.
        density: the probability.
    """

    key: tuple[int, int]
    density: float

    def mask(self, delta: Tensor, span: Span) -> Tensor:
        """See ``Keep``."""
        return torch.lt(uniform(self.key, *span), self.density, out=torch.empty_like(delta))


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

    def mask(self, delta: Tensor, span: Span) -> Tensor:
        """See ``Keep``; with ``inverse``, 1/p in place of 1."""
        chance = self.ranks[span[0] : span[1]].int().float().mul_(float(np.float32(self.step)))
        chance.add_(float(np.float32(self.least)))
        kept = torch.lt(uniform(self.key, *span), chance, out=torch.empty_like(delta))
        return kept.div_(chance.clamp_(min=1e-12)) if self.inverse else kept
