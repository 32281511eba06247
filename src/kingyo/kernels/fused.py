"""Compiled functions that run a loop of ``loops`` over memory: blends, sums, histograms, ranks.

They give the bits of ``blend`` and ``reference``. Machine code is made once for each text of a loop, and
cached on disk. All functions take passes of one loop, as ``packed.arguments`` gives them: the text, then
arrays with a row for each pass. Nothing here checks its arguments: ``packed`` does.
"""

# pyright: basic

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from kingyo.kernels import memory
from kingyo.kernels.blocks import BLOCK, LANES, SIZE_SHIFT
from kingyo.kernels.keep import ENTRIES
from kingyo.kernels.loops import ROW
from kingyo.kernels.machine_code import Described, compiled
from kingyo.kernels.memory import INLINE, copy_out, hashed, inline
from kingyo.kernels.noise import N_CHANCES
from kingyo.kernels.ordering import DIGITS, sort

SHIFT = np.uint32(SIZE_SHIFT)
GROUP = 64
"""How many sizes are searched at a time."""
CHUNK = 1024
"""Bytes that are computed before they are copied to their place; fewer let loads and stores overlap."""
NAMES = {
    **{name: value for name, value in vars(memory).items() if not name.startswith("_")},
    **{name: inline(function) for name, function in ENTRIES.items()},
    "ZERO": np.float32(0.0),
    "f32": np.float32,
}
"""What the text of a loop may use."""


def _loop(text, addresses, numbers, words, start, stop, to):
    """Write the entries start..stop to the address ``to``; see ``loops.text``."""
    raise NotImplementedError


@overload(_loop, prefer_literal=True, jit_options=INLINE)
def _compile_loop(text, addresses, numbers, words, start, stop, to):
    names = dict(NAMES)
    exec(text.literal_value, names)
    return names["loop"]


def _blends(text, addresses, numbers, words, spans, worst):
    """Write blends; return of each pass the bits of its largest magnitude.

    Where one is NaN, what was written of it in bfloat16 is not to be used. What goes past the caches is there
    for other threads once this thread takes the interpreter's lock.
    """
    own = np.empty(CHUNK, np.uint8)
    place = np.uint64(own.ctypes.data)
    for i in range(spans.shape[0]):
        n_bytes, past = np.int64(words[i, 0]), words[i, 1] != np.uint32(0)
        per, first, largest = CHUNK // n_bytes, spans[i, 0], np.uint32(0)
        while first < spans[i, 1]:
            last = min((first // per + 1) * per, spans[i, 1])
            size = _loop(text, addresses[i], numbers[i], words[i], first, last, place)
            largest = max(largest, size)
            copy_out(addresses[i, 1] + np.uint64(first * n_bytes), place, (last - first) * n_bytes, past)
            first = last
        worst[i] = largest


def _sums(text, addresses, numbers, words, spans, what, rounder, found):
    """Write sums of each block; the spans follow one another, and begin with a block.

    Args:
        what: 1 for magnitudes, 2 for squares of each row, 3 for products of all pairs.
        rounder: is added to magnitudes and taken away again.
        found: float64, (blocks, sums).
    """
    rows = np.empty((found.shape[1], ROW), np.float32)
    lanes = np.empty((found.shape[1], LANES))
    n_rows, place = (addresses.shape[1] - 2) // 2, np.uint64(rows.ctypes.data)
    start, stop, i = spans[0, 0], spans[-1, 1], 0
    for block in range(found.shape[0]):
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
                _loop(
                    text, addresses[i], numbers[i], words[i], at, until, place + np.uint64(4 * (at - first))
                )
                at = until
            _add(rows[:n_rows], what, rounder, lanes)
        for k in range(lanes.shape[0]):
            found[block, k] = _total(lanes[k])


def _exact_sums(text, addresses, numbers, words, spans, rounders, found):
    """Write the sum of each pass, whose rounded magnitudes have one sum in any order."""
    for i in range(spans.shape[0]):
        blocks = np.zeros((-(-(spans[i, 1] - spans[i, 0]) // BLOCK), 1))
        one = slice(i, i + 1)
        _sums_of(text, addresses[one], numbers[one], words[one], spans[one], 1, rounders[i], blocks)
        found[i] = blocks.sum()


@inline
def _add(rows, what, rounder, lanes):
    """Add to lanes what ``_sums`` takes of some entries, as many as there are lanes at a time."""
    k = 0
    for a in range(rows.shape[0]):
        for b in range(a, rows.shape[0] if what == 3 else a + 1):
            _add_products(rows[a], rows[b], what, rounder, lanes[k])
            k += 1


@inline
def _add_products(left, right, what, rounder, lanes):
    if what == 1:
        for first in range(0, ROW, LANES):
            for lane in range(LANES):
                lanes[lane] += (abs(np.float64(left[first + lane])) + rounder) - rounder
    else:
        for first in range(0, ROW, LANES):
            for lane in range(LANES):
                lanes[lane] += np.float64(left[first + lane]) * np.float64(right[first + lane])


@inline
def _total(lanes):
    """Return the sum of lanes: the upper half is added to the lower, until one is left."""
    half = LANES // 2
    while half:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return lanes[0]


def _sizes(text, addresses, numbers, words, spans, found):
    """Write sizes, from the first entry of the first span on."""
    place = np.uint64(found.ctypes.data)
    for i in range(spans.shape[0]):
        to = place + np.uint64(4 * (spans[i, 0] - spans[0, 0]))
        _loop(text, addresses[i], numbers[i], words[i], spans[i, 0], spans[i, 1], to)


def _histogram(text, addresses, numbers, words, spans, counts, scratch):
    """Count sizes of one pass by their upper bits."""
    bits, place = scratch.view(np.uint32), np.uint64(scratch.ctypes.data)
    for first in range(spans[0, 0], spans[0, 1], scratch.size):
        last = min(first + scratch.size, spans[0, 1])
        _loop(text, addresses[0], numbers[0], words[0], first, last, place)
        for i in range(last - first):
            counts[bits[i] >> SHIFT] += 1


def _by_chance(text, addresses, numbers, words, spans, key, rounder, scratch, bins):
    """Add each rounded size of one pass to the bin of its random number; its first entry is even."""
    place = np.uint64(scratch.ctypes.data)
    for first in range(spans[0, 0], spans[0, 1], scratch.size):
        last = min(first + scratch.size, spans[0, 1])
        _loop(text, addresses[0], numbers[0], words[0], first, last, place)
        for i in range(0, last - first, 2):
            bits = hashed((first + i) >> 1, key[0], key[1])
            bins[bits & np.uint32(N_CHANCES - 1)] += (np.float64(scratch[i]) + rounder) - rounder
            if i + 1 < last - first:
                bins[bits >> np.uint32(16)] += (np.float64(scratch[i + 1]) + rounder) - rounder


def _collect(text, addresses, numbers, words, spans, wanted, scratch, found, places):
    """Write bits and indices of the sizes of one pass whose upper bits are ``wanted``; return how many."""
    bits, place = scratch.view(np.uint32), np.uint64(scratch.ctypes.data)
    n_found = 0
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
                    found[n_found], places[n_found] = bits[i], first + i
                    n_found += 1
    return n_found


def _ranks(text, addresses, numbers, words, spans, length, scratch, found):
    """Write ranks of the sizes of one pass within rows of ``length``; ``scratch`` is float32, one row."""
    place = np.uint64(scratch.ctypes.data)
    keyed = np.empty((2, length), np.uint64)
    counts = np.empty((3, DIGITS), np.uint32)
    for first in range(spans[0, 0], spans[0, 1], length):
        _loop(text, addresses[0], numbers[0], words[0], first, first + length, place)
        sort(scratch.view(np.uint32), keyed, counts, found[first : first + length], True)


_sums_of = compiled(_sums)

_MANY = (types.uint64[:, ::1], types.float32[:, ::1], types.uint32[:, ::1], types.int64[:, ::1])
_FLOATS, _DOUBLES = types.float32[::1], types.float64[::1]

blends = Described(_blends, *_MANY, types.uint32[::1])
sums = Described(_sums, *_MANY, types.int64, types.float64, types.float64[:, ::1])
exact_sums = Described(_exact_sums, *_MANY, _DOUBLES, _DOUBLES)
sizes = Described(_sizes, *_MANY, _FLOATS)
histogram = Described(_histogram, *_MANY, types.int64[::1], _FLOATS)
by_chance = Described(_by_chance, *_MANY, types.uint32[::1], types.float64, _FLOATS, _DOUBLES)
collect = Described(_collect, *_MANY, types.uint32, _FLOATS, types.uint32[::1], types.int64[::1])
ranks = Described(_ranks, *_MANY, types.int64, _FLOATS, types.uint16[::1])
long_ranks = Described(_ranks, *_MANY, types.int64, _FLOATS, types.int32[::1])
