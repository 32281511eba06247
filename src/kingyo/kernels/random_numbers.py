"""Random numbers without state: a hash of seed, source, tensor name and index of the entry.

So they do not depend on the order of work, the number of threads or the machine. Candidates of a search that
share a seed share their random numbers: a mask of low density is a subset of one of higher density, and a
small step of a genome changes few entries.

Two entries share a hash: half of their index is mixed by two multiplications and three xor-shifts
(``lowbias32``, C. Wellons, "Prospecting for Hash Functions", 2018), with a 32-bit key before each
multiplication. The even entry takes the lower 16 bits, the odd entry the upper. So probabilities are rounded
up to a multiple of 2^-16.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch

N_VALUES = 1 << 16
"""Number of values of a random number."""
FIRST, SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of the hash."""
_WORD = 0xFFFFFFFF


def uniform(key: tuple[int, int], start: int, stop: int, device: torch.device | None = None) -> Tensor:
    """Return the random numbers of the entries start..stop-1, in [0, 1).

    Args:
        key: two independent 32-bit numbers; see ``key_of``.
        start, stop: range of indices; half an index counts modulo 2^32.
        device: device of the result; None is the processor. The numbers are the same on each.

    Returns:
        float32, shape (stop - start,); multiples of 2^-16.
    """
    first, last = start // 2, (stop + 1) // 2
    if device is None or device.type == "cpu":
        bits = _hashes(key, first, last)
        lower, upper = bits & np.uint32(0xFFFF), bits >> np.uint32(16)
        halves = torch.from_numpy(  # pyright: ignore[reportUnknownMemberType]
            np.stack((lower, upper), axis=1).astype(np.float32)
        )
    else:
        words = hashes_by_torch(key, first, last, device)
        halves = torch.stack((words & 0xFFFF, words >> 16), dim=1).float()
    return halves.reshape(-1)[start - 2 * first : stop - 2 * first].mul_(2.0**-16)


def _hashes(key: tuple[int, int], first: int, last: int) -> NDArray[np.uint32]:
    bits = np.arange(last - first, dtype=np.uint32)
    bits += np.uint32(first % 2**32)
    scratch = np.empty_like(bits)
    bits ^= np.uint32(key[0])
    bits ^= np.right_shift(bits, np.uint32(16), out=scratch)
    bits *= np.uint32(FIRST)
    bits ^= np.uint32(key[1])
    bits ^= np.right_shift(bits, np.uint32(15), out=scratch)
    bits *= np.uint32(SECOND)
    bits ^= np.right_shift(bits, np.uint32(16), out=scratch)
    return bits


def hashes_by_torch(key: tuple[int, int], first: int, last: int, device: torch.device) -> Tensor:
    """Return the same hashes on another device, in int64; products lose only bits above the lower 32."""
    bits = torch.arange(first, last, device=device).bitwise_and_(_WORD)
    bits.bitwise_xor_(key[0])
    bits.bitwise_xor_(bits >> 16).mul_(FIRST).bitwise_and_(_WORD)
    bits.bitwise_xor_(key[1])
    bits.bitwise_xor_(bits >> 15).mul_(SECOND).bitwise_and_(_WORD)
    return bits.bitwise_xor_(bits >> 16)


@lru_cache(maxsize=1 << 14)
def key_of(seed: int, source: int, tensor: str) -> tuple[int, int]:
    """Return two 32-bit words for a seed, the position of a source and the name of a tensor."""
    digest = hashlib.sha256(f"{seed}/{source}/{tensor}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
