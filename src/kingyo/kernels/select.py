"""Order statistics of numbers that are never all in memory: two passes, each of which counts 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels.blocks import Span, spans

_HALF = 1 << 16
_SIGN = np.uint32(0x80000000)
_SIXTEEN = np.uint32(16)
_LOWER = np.uint32(0xFFFF)


def order_statistics(
    numbers: Callable[[Span], NDArray[np.float32]], n: int, ranks: Sequence[int]
) -> list[float]:
    """The numbers at these places of the sorted whole.

    Args:
        numbers: span -> its float32 numbers, the same at every call, none of them NaN.
        n: how many there are.
        ranks: places, from 0 for the smallest.
    """
    upper = np.zeros(_HALF, dtype=np.int64)
    for keys in _keys(numbers, n):
        upper += np.bincount(keys >> _SIXTEEN, minlength=_HALF)
    places = [_place(upper, rank) for rank in ranks]
    lower = {half: np.zeros(_HALF, dtype=np.int64) for half, _ in places}
    for keys in _keys(numbers, n):
        halves = keys >> _SIXTEEN
        for half in lower:
            lower[half] += np.bincount(keys[halves == half] & _LOWER, minlength=_HALF)
    return [_number(half << 16 | _place(lower[half], rest)[0]) for half, rest in places]


def _keys(numbers: Callable[[Span], NDArray[np.float32]], n: int) -> Iterator[NDArray[np.uint32]]:
    """Unsigned integers in the order of the numbers."""
    for span in spans(n, 1 << 18):
        bits = np.ascontiguousarray(numbers(span)).view(np.uint32)
        yield np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _place(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """Which bin holds a rank, and the rank within it."""
    ends = np.cumsum(counts)
    half = int(np.searchsorted(ends, rank, side="right"))
    return half, rank - int(ends[half] - counts[half])


def _number(key: int) -> float:
    bits = np.uint32(key)
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float32))
