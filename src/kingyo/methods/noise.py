"""Random numbers that need no state: a hash of (seed, source, tensor's name, index of the element).

Nothing else enters, so the order of work, the number of threads and the machine do not matter, and candidates
of a search that share a seed share their random numbers: a mask of low density lies within one of higher
density, and a small step in a genome changes few entries.

The hash mixes the element's index with two 32-bit keys by two rounds of a finaliser of two multiplications
and three xor-shifts (constants of ``lowbias32``, C. Wellons, "Prospecting for Hash Functions", 2018), and
keeps the 24 upper bits, which float32 holds exactly.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FIRST = np.uint32(0x7FEB352D)
_SECOND = np.uint32(0x846CA68B)


def uniform(key: tuple[int, int], start: int, stop: int) -> Tensor:
    """Hash the integers start..stop-1, modulo 2^32, to numbers in [0, 1).

    Args:
        key: two 32-bit numbers, see ``key_of``.
        start, stop: range of indices of elements.

    Returns:
        float32, shape (stop - start,); every value is a multiple of 2^-24.
    """
    bits = np.arange(stop - start, dtype=np.uint32)
    bits += np.uint32(start % 2**32)
    scratch = np.empty_like(bits)
    for word in key:
        bits ^= np.uint32(word)
        _mix(bits, scratch)
    bits >>= np.uint32(8)
    numbers = torch.from_numpy(bits.astype(np.float32))  # pyright: ignore[reportUnknownMemberType]
    return numbers.mul_(2.0**-24)


def key_of(seed: int, source: int, tensor: str) -> tuple[int, int]:
    """Two 32-bit words that stand for a seed, the position of a source and the name of a tensor."""
    digest = hashlib.sha256(f"{seed}/{source}/{tensor}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def _mix(bits: NDArray[np.uint32], scratch: NDArray[np.uint32]) -> None:
    """A bijection of 32-bit numbers, in place; products are modulo 2^32."""
    bits ^= np.right_shift(bits, np.uint32(16), out=scratch)
    bits *= _FIRST
    bits ^= np.right_shift(bits, np.uint32(15), out=scratch)
    bits *= _SECOND
    bits ^= np.right_shift(bits, np.uint32(16), out=scratch)


class NoiseCache:
    """Keeps drawn numbers for the next candidate; the least recently used go first.

    Args:
        max_bytes: how much it may keep.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self.n_bytes = 0
        self._kept: OrderedDict[tuple[tuple[int, int], int, int], Tensor] = OrderedDict()

    def uniform(self, key: tuple[int, int], start: int, stop: int) -> Tensor:
        """As ``uniform`` of this module. The tensor is shared: never write to it."""
        entry = (key, start, stop)
        found = self._kept.get(entry)
        if found is not None:
            self._kept.move_to_end(entry)
            return found
        drawn = uniform(key, start, stop)
        if drawn.nbytes <= self._max_bytes:
            self._kept[entry] = drawn
            self.n_bytes += drawn.nbytes
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._kept.popitem(last=False)[1].nbytes
        return drawn


class TensorNoise:
    """The random numbers of one tensor: a ``Noise`` for a method.

    Args:
        seed: of the recipe.
        tensor: the tensor's name.
        cache: shared between candidates, or None.
    """

    def __init__(self, seed: int, tensor: str, cache: NoiseCache | None = None) -> None:
        self._seed = seed
        self._tensor = tensor
        self._cache = cache

    def uniform(self, source: int, start: int, stop: int) -> Tensor:
        """Numbers in [0, 1) for the elements start..stop of a source's flattened tensor, in float32."""
        key = key_of(self._seed, source, self._tensor)
        return uniform(key, start, stop) if self._cache is None else self._cache.uniform(key, start, stop)
