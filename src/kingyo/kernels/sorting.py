"""Compiled radix sort of 32-bit numbers: by digits, the lowest first, so that equal numbers stay in order."""

# pyright: basic

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels.loop_memory import compiled

LOWER = np.uint64(0xFFFFFFFF)
DIGITS = 1 << 12


@compiled
def order(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the places of uint32 numbers in ascending order; of equal ones the first is first."""
    places = np.empty(numbers.size, np.uint32)
    keyed = np.empty((2, numbers.size), np.uint64)
    sort(numbers, keyed, np.empty((3, DIGITS), np.uint32), places, False)
    return places


@compiled
def sort(numbers, keyed, counts, result, ranks):
    """Write the rank of each number, or the place of each rank's number; of equal ones the first is first.

    Digits have at most 12 bits, among those bits in which the numbers differ.
    """
    union, common = np.uint32(0), np.uint32(0xFFFFFFFF)
    for number in numbers:
        union |= number
        common &= number
    differ, low, high = union ^ common, 0, 32
    while low < 31 and not (differ >> np.uint32(low)) & np.uint32(1):
        low += 1
    while high > low + 1 and not (differ >> np.uint32(high - 1)) & np.uint32(1):
        high -= 1
    n_digits = (high - low + 11) // 12
    width = (high - low + n_digits - 1) // n_digits
    for digit in range(n_digits):
        _count(numbers, np.uint32(low + digit * width), counts[digit, : 1 << width])
    for i in range(numbers.size):
        keyed[0, i] = (np.uint64(numbers[i]) << np.uint64(32)) | np.uint64(i)
    mask = np.uint64((1 << width) - 1)
    for digit in range(n_digits - 1):
        _scatter(
            keyed[digit % 2], np.uint64(32 + low + digit * width), mask, counts[digit], keyed[1 - digit % 2]
        )
    last, places = keyed[(n_digits - 1) % 2], counts[n_digits - 1]
    shift = np.uint64(32 + low + (n_digits - 1) * width)
    for key in last:
        value = (key >> shift) & mask
        place = places[value]
        places[value] = place + np.uint32(1)
        if ranks:
            result[key & LOWER] = place
        else:
            result[place] = key & LOWER


@compiled
def _count(numbers, shift, places):
    """Write the place of the first number of each digit."""
    places[:] = 0
    mask = np.uint32(places.size - 1)
    for number in numbers:
        places[(number >> shift) & mask] += np.uint32(1)
    place = np.uint32(0)
    for value in range(places.size):
        place, places[value] = place + places[value], place


@compiled
def _scatter(before, shift, mask, places, after):
    """Sort by one digit."""
    for key in before:
        value = (key >> shift) & mask
        after[places[value]] = key
        places[value] += np.uint32(1)
