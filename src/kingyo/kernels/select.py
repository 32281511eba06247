"""Order statistics of numbers that are never all in memory: two passes, each of which counts 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels.blocks import Span, spans

_HALF = 1 << 16
_SIGN = np.uint32(0x80000000)


def order_statistics(
    numbers: Callable[[Span], NDArray[np.float32]], n: int, ranks: Sequence[int]
) -> list[float]:
    """The numbers at these places of the sorted whole.

    Args:
        numbers: span -> its float32 numbers, the same at every call, none of them NaN.
        n: how many there are.
        ranks: places, from 0 for the smallest.
    """
    upper = _count(numbers, n, lambda keys: keys >> np.uint32(16))
    found: list[float] = []
    lower: dict[int, NDArray[np.int64]] = {}
    for rank in ranks:
        half, rest = _place(upper, rank)
        if half not in lower:
            lower[half] = _count(numbers, n, lambda keys, half=half: keys[(keys >> np.uint32(16)) == half])
        found.append(_number(half << 16 | _place(lower[half], rest)[0]))
    return found


def _count(
    numbers: Callable[[Span], NDArray[np.float32]],
    n: int,
    halves: Callable[[NDArray[np.uint32]], NDArray[np.uint32]],
) -> NDArray[np.int64]:
    counts = np.zeros(_HALF, dtype=np.int64)
    for span in spans(n, 1 << 18):
        bits = np.ascontiguousarray(numbers(span)).view(np.uint32)
        keys = np.where(bits & _SIGN, ~bits, bits | _SIGN)  # unsigned integers in the order of the numbers
        counts += np.bincount(halves(keys) & np.uint32(_HALF - 1), minlength=_HALF)
    return counts


def _place(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """Which bin holds a rank, and the rank within it."""
    ends = np.cumsum(counts)
    half = int(np.searchsorted(ends, rank, side="right"))
    return half, rank - int(ends[half] - counts[half])


def _number(key: int) -> float:
    bits = np.uint32(key)
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float32))
