"""Random numbers without state: a hash of seed, source, tensor name and index of the entry.

So they do not depend on the order of work, the number of threads, the device or the machine. Candidates of a
search that share a seed share their random numbers: a mask of low density is a subset of one of higher
density, and a small step of a genome changes few entries.

Two entries share a hash: half of their index is mixed by two multiplications and three xor-shifts
(``lowbias32``, C. Wellons, "Prospecting for Hash Functions", 2018), with a 32-bit key before each
multiplication. The even entry takes the lower 16 bits, the odd entry the upper. So probabilities are rounded
up to a multiple of 2^-16.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from kingyo.io.lazy_torch import Tensor, torch

N_VALUES = 1 << 16
"""Number of values of a random number."""
FIRST, SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of the hash."""


def uniform(key: tuple[int, int], start: int, stop: int, device: torch.device | None = None) -> Tensor:
    """Return the random numbers of the entries start..stop-1: float32, multiples of 2^-16 in [0, 1).

    Args:
        key: two independent 32-bit numbers; see ``key_of``.
        start, stop: range of indices; half an index counts modulo 2^32.
        device: device of the result; None is the processor.
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
    """Return a 32-bit word as int32, since torch can do little with uint32."""
    return word - 2**32 if word >= 2**31 else word


def _shifted(bits: Tensor, n: int) -> Tensor:
    """Shift to the right, with zeros from the left."""
    return (bits >> n).bitwise_and_((1 << (32 - n)) - 1)


@lru_cache(maxsize=1 << 14)
def key_of(seed: int, source: int, tensor: str) -> tuple[int, int]:
    """Return two 32-bit words for a seed, the position of a source and the name of a tensor."""
    digest = hashlib.sha256(f"{seed}/{source}/{tensor}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
