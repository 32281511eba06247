"""Compiled functions that run a loop of ``loop_text`` over memory: weighted sums, sums, histograms, ranks.

They are bit-identical to torch. Numba compiles each once per text of a loop and caches the code on disk. The
first arguments of each are those of ``loop_arguments.call_arguments``: the text, and arrays with one row per
call. Arguments are not checked here.
"""

# pyright: basic, reportReturnType=false

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from kingyo.kernels import loop_memory
from kingyo.kernels.blocks import BLOCK, LANES
from kingyo.kernels.loop_memory import INLINE, bits64, compiled, copy_out, hashed, inline
from kingyo.kernels.loop_text import ROW, SIZE_SHIFT
from kingyo.kernels.masks import ENTRY_FUNCTIONS
from kingyo.kernels.random_numbers import N_VALUES

SHIFT = np.uint32(SIZE_SHIFT)
UNITS = 1.5 * 2.0**52
"""Units per ``statistics.rounder``."""
LOWER = np.uint64(0xFFFFFFFF)
DIGITS = 1 << 12
"""Values of a digit of the radix sort."""
GROUP = 64
"""Sizes that are searched at a time."""
CHUNK = 1024
"""Bytes that are computed before they are copied to the output; small, so that loads and stores overlap."""
NAMES = {
    **{name: value for name, value in vars(loop_memory).items() if not name.startswith("_")},
    **{name: inline(function) for name, function in ENTRY_FUNCTIONS.items()},
    "ZERO": np.float32(0.0),
    "f32": np.float32,
}
"""Names that the text of a loop may use."""


class LoopFunction:
    """A compiled function with its own machine code for each text of a loop, which is its first argument.

    ``kinds`` are the types of the other arguments.
    """

    def __init__(self, function: Callable[..., object], *kinds: types.Type) -> None:
        self._compiled: Any = compiled(function)
        self._types = kinds
        self._entries: dict[str, Callable[..., Any]] = {}
        self._lock = Lock()

    def __call__(self, text: str, *arguments: object) -> Any:
        """Run the code for a text."""
        entry = self._entries.get(text)
        if entry is None:
            entry = self._entry(text)
        return entry(text, *arguments)

    def _entry(self, text: str) -> Callable[..., Any]:
        with self._lock:  # threads that start together compile once
            if text not in self._entries:
                self._entries[text] = self._compile(f"{text}\n# {_digest_of_code()}")
            return self._entries[text]

    def _compile(self, text: str) -> Callable[..., Any]:
        signature = (types.literal(text), *self._types)
        self._compiled.compile(signature)
        return self._compiled.get_overload(signature)


@cache
def _digest_of_code() -> str:
    """Return a digest of this package's code; numba's cache checks only the file of the function."""
    sources = (file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]


def _loop(text, addresses, numbers, words, start, stop, to):
    """Write the entries start..stop to the address ``to``; see ``loop_text.text``."""
    raise NotImplementedError


@overload(_loop, prefer_literal=True, jit_options=INLINE)
def _compile_loop(text, addresses, numbers, words, start, stop, to):
    names = dict(NAMES)
    exec(text.literal_value, names)
    return names["loop"]


def _weighted_sums(text, addresses, numbers, words, spans, chunk, worst):
    """Write weighted sums; store the bits of the largest magnitude of each call.

    If it is NaN, the bfloat16 output must not be used. Other threads see stores that bypass the caches once
    this thread takes the interpreter's lock. The caller owns ``chunk``, ``CHUNK`` bytes: numba frees an array
    after its last use by name, and here only its address is used.
    """
    place = np.uint64(chunk.ctypes.data)
    for i in range(spans.shape[0]):
        n_bytes, bypass_caches = np.int64(words[i, 0]), words[i, 1] != np.uint32(0)
        per, first, largest = CHUNK // n_bytes, spans[i, 0], np.uint32(0)
        while first < spans[i, 1]:
            last = min((first // per + 1) * per, spans[i, 1])
            size = _loop(text, addresses[i], numbers[i], words[i], first, last, place)
            largest = max(largest, size)
            to = addresses[i, 1] + np.uint64(first * n_bytes)
            copy_out(to, place, (last - first) * n_bytes, bypass_caches)
            first = last
        worst[i] = largest


def _sums(text, addresses, numbers, words, spans, summand, totals):
    """Write sums of each block; the spans are adjacent, and the first starts with a block.

    Args:
        summand: 1 for magnitudes, 2 for squares of each row, 3 for products of all pairs.
        totals: float64, shape (blocks, sums).
    """
    rows = np.empty((totals.shape[1], ROW), np.float32)
    lanes = np.empty((totals.shape[1], LANES))
    n_rows, place = (addresses.shape[1] - 2) // 2, np.uint64(rows.ctypes.data)
    start, stop, i = spans[0, 0], spans[-1, 1], 0
    for block in range(totals.shape[0]):
        lanes[:] = 0.0
        end = min(start + (block + 1) * BLOCK, stop)
        for first in range(start + block * BLOCK, end, ROW):
            last = min(first + ROW, end)
            rows[:, last - first :] = np.float32(0.0)
            at = first
            while at < last:
                while spans[i, 1] <= at:
                    i += 1
                until = min(last, spans[i, 1])
                to = place + np.uint64(4 * (at - first))
                _loop(text, addresses[i], numbers[i], words[i], at, until, to)
                at = until
            _add(rows[:n_rows], summand, lanes)
        for k in range(lanes.shape[0]):
            totals[block, k] = _total(lanes[k])


def _exact_sums(text, addresses, numbers, words, spans, rounders, totals):
    """Write the sum of rounded magnitudes of each row, in any order; see ``statistics.rounder``."""
    rows, units = np.empty((rounders.size, ROW), np.float32), np.zeros(rounders.size, np.uint64)
    place = np.uint64(rows.ctypes.data)
    for i in range(spans.shape[0]):
        for first in range(spans[i, 0], spans[i, 1], ROW):
            last = min(first + ROW, spans[i, 1])
            _loop(text, addresses[i], numbers[i], words[i], first, last, place)
            for k in range(rounders.size):
                units[k] += _units(rows[k, : last - first], rounders[k])
    for k in range(rounders.size):
        totals[k] = np.float64(np.int64(units[k])) * (rounders[k] / UNITS)


@inline
def _units(row, rounder):
    """Return the sum of rounded magnitudes as a number of units: integers add up faster than floats.

    The bits of magnitude + rounder are those of the rounder plus the number of units.
    """
    total, start = np.uint64(0), bits64(rounder)
    for i in range(row.size):
        total += bits64(np.float64(abs(row[i])) + rounder)
    return total - start * np.uint64(row.size)


@inline
def _add(rows, summand, lanes):
    """Add the summands of ``_sums`` to lanes, as many as there are lanes at a time."""
    k = 0
    for a in range(rows.shape[0]):
        for b in range(a, rows.shape[0] if summand == 3 else a + 1):
            _add_products(rows[a], rows[b], summand, lanes[k])
            k += 1


@inline
def _add_products(left, right, summand, lanes):
    if summand == 1:
        for first in range(0, ROW, LANES):
            for lane in range(LANES):
                lanes[lane] += abs(np.float64(left[first + lane]))
    else:
        for first in range(0, ROW, LANES):
            for lane in range(LANES):
                lanes[lane] += np.float64(left[first + lane]) * np.float64(right[first + lane])


@inline
def _total(lanes):
    """Return the sum of lanes: the upper half is added to the lower until one is left."""
    half = LANES // 2
    while half:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return lanes[0]


def _sizes(text, addresses, numbers, words, spans, result):
    """Write sizes, from the first entry of the first span on."""
    place = np.uint64(result.ctypes.data)
    for i in range(spans.shape[0]):
        to = place + np.uint64(4 * (spans[i, 0] - spans[0, 0]))
        _loop(text, addresses[i], numbers[i], words[i], spans[i, 0], spans[i, 1], to)


def _histogram(text, addresses, numbers, words, spans, counts, scratch):
    """Count the sizes of one call by their upper bits."""
    bits, place = scratch.view(np.uint32), np.uint64(scratch.ctypes.data)
    for first in range(spans[0, 0], spans[0, 1], scratch.size):
        last = min(first + scratch.size, spans[0, 1])
        _loop(text, addresses[0], numbers[0], words[0], first, last, place)
        for i in range(last - first):
            counts[bits[i] >> SHIFT] += 1


def _by_draw(text, addresses, numbers, words, spans, key, rounder, scratch, bins):
    """Add each rounded size of one call to the bin of its random number; its first index is even."""
    place = np.uint64(scratch.ctypes.data)
    for first in range(spans[0, 0], spans[0, 1], scratch.size):
        last = min(first + scratch.size, spans[0, 1])
        _loop(text, addresses[0], numbers[0], words[0], first, last, place)
        for i in range(0, last - first, 2):
            bits = hashed((first + i) >> 1, key[0], key[1])
            bins[bits & np.uint32(N_VALUES - 1)] += (np.float64(scratch[i]) + rounder) - rounder
            if i + 1 < last - first:
                bins[bits >> np.uint32(16)] += (np.float64(scratch[i + 1]) + rounder) - rounder


def _collect(text, addresses, numbers, words, spans, wanted, scratch, sizes, places):
    """Write bits and indices of the sizes of one call whose upper bits are ``wanted``; return their count."""
    bits, place = scratch.view(np.uint32), np.uint64(scratch.ctypes.data)
    n = 0
    for first in range(spans[0, 0], spans[0, 1], scratch.size):
        last = min(first + scratch.size, spans[0, 1])
        _loop(text, addresses[0], numbers[0], words[0], first, last, place)
        bits[last - first :] = ~np.uint32(0)
        for group in range(0, last - first, GROUP):
            n_here = np.uint32(0)
            for i in range(group, group + GROUP):
                n_here += np.uint32((bits[i] >> SHIFT) == wanted)
            if not n_here:
                continue
            for i in range(group, group + GROUP):
                if bits[i] >> SHIFT == wanted:
                    sizes[n], places[n] = bits[i], first + i
                    n += 1
    return n


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

    It is a radix sort: by digits, the lowest first, so that equal numbers stay in order. Digits have at most
    12 bits, among those bits in which the numbers differ.
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


def _ranks(text, addresses, numbers, words, spans, length, scratch, result):
    """Write the ranks of the sizes of one call in rows of ``length``; ``scratch`` is float32, one row."""
    place = np.uint64(scratch.ctypes.data)
    keyed = np.empty((2, length), np.uint64)
    counts = np.empty((3, DIGITS), np.uint32)
    for first in range(spans[0, 0], spans[0, 1], length):
        _loop(text, addresses[0], numbers[0], words[0], first, first + length, place)
        sort(scratch.view(np.uint32), keyed, counts, result[first : first + length], True)


_CALLS = (types.uint64[:, ::1], types.float32[:, ::1], types.uint32[:, ::1], types.int64[:, ::1])
_FLOATS, _DOUBLES = types.float32[::1], types.float64[::1]

weighted_sums = LoopFunction(_weighted_sums, *_CALLS, types.uint8[::1], types.uint32[::1])
sums = LoopFunction(_sums, *_CALLS, types.int64, types.float64[:, ::1])
exact_sums = LoopFunction(_exact_sums, *_CALLS, _DOUBLES, _DOUBLES)
sizes = LoopFunction(_sizes, *_CALLS, _FLOATS)
histogram = LoopFunction(_histogram, *_CALLS, types.int64[::1], _FLOATS)
by_draw = LoopFunction(_by_draw, *_CALLS, types.uint32[::1], types.float64, _FLOATS, _DOUBLES)
collect = LoopFunction(_collect, *_CALLS, types.uint32, _FLOATS, types.uint32[::1], types.int64[::1])
ranks = LoopFunction(_ranks, *_CALLS, types.int64, _FLOATS, types.uint16[::1])
long_ranks = LoopFunction(_ranks, *_CALLS, types.int64, _FLOATS, types.int32[::1])
