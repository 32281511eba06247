"""Functions that run a loop of ``loops`` over memory, and their compilation to object code with numba.

They are the source of ``machine_code``, which documents how they are called. They allocate no memory, so that
their machine code needs no library but C's. They are bit-identical to torch.
"""

# pyright: basic, reportReturnType=false

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from kingyo.merging.kernels import loop_memory
from kingyo.merging.kernels.blocks import BLOCK, LANES
from kingyo.merging.kernels.loop_memory import bits64, copy_out, hashed, inline, machine
from kingyo.merging.kernels.loops import CHUNK, ROW, SIZE_SHIFT
from kingyo.merging.kernels.masks import ENTRY_FUNCTIONS, N_VALUES

SHIFT = np.uint32(SIZE_SHIFT)
UNITS = 1.5 * 2.0**52
"""Units per ``statistics.rounder``."""
LOWER = np.uint64(0xFFFFFFFF)
GROUP = 64
"""Sizes that are searched at a time."""


def _loop(addresses, numbers, words, start, stop, to):
    """Write the entries start..stop to the address ``to``; see ``loops.text``."""
    raise NotImplementedError


def weighted_sums(addresses, numbers, words, spans, chunk, worst):
    """Write weighted sums; store the bits of the largest magnitude of each call.

    If it is NaN, the bfloat16 output must not be used. Other threads see stores that bypass the caches once
    this thread takes the interpreter's lock. ``chunk`` has ``CHUNK`` bytes.
    """
    place = np.uint64(chunk.ctypes.data)
    for i in range(spans.shape[0]):
        n_bytes, bypass_caches = np.int64(words[i, 0]), words[i, 1] != np.uint32(0)
        per, first, largest = CHUNK // n_bytes, spans[i, 0], np.uint32(0)
        while first < spans[i, 1]:
            last = min((first // per + 1) * per, spans[i, 1])
            size = _loop(addresses[i], numbers[i], words[i], first, last, place)
            largest = max(largest, size)
            to = addresses[i, 1] + np.uint64(first * n_bytes)
            copy_out(to, place, (last - first) * n_bytes, bypass_caches)
            first = last
        worst[i] = largest


def sums(addresses, numbers, words, spans, summand, rows, lanes, totals):
    """Write sums of each block to ``totals`` [blocks, sums]; the spans are adjacent, from a block on.

    ``summand``: 1 for magnitudes, 2 for squares of each row, 3 for products of all pairs. ``rows`` and
    ``lanes`` are scratch, of shape (sums, ``ROW``) and (sums, ``LANES``).
    """
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
                _loop(addresses[i], numbers[i], words[i], at, until, to)
                at = until
            _add(rows[:n_rows], summand, lanes)
        for k in range(lanes.shape[0]):
            totals[block, k] = _total(lanes[k])


def exact_sums(addresses, numbers, words, spans, rounders, rows, units, totals):
    """Write the sum of rounded magnitudes of each row, in any order; see ``statistics.rounder``.

    ``rows`` and ``units`` are scratch, of shape (rows, ``ROW``) and (rows,).
    """
    units[:] = np.uint64(0)
    place = np.uint64(rows.ctypes.data)
    for i in range(spans.shape[0]):
        for first in range(spans[i, 0], spans[i, 1], ROW):
            last = min(first + ROW, spans[i, 1])
            _loop(addresses[i], numbers[i], words[i], first, last, place)
            for k in range(rounders.size):
                units[k] += _units(rows[k, : last - first], rounders[k])
    for k in range(rounders.size):
        totals[k] = np.float64(np.int64(units[k])) * (rounders[k] / UNITS)


@inline
def _units(row, rounder):
    """Return the sum of rounded magnitudes in units, which are the last bits of magnitude + rounder."""
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
    half = LANES // 2
    while half:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return lanes[0]


def sizes(addresses, numbers, words, spans, result):
    """Write sizes, from the first entry of the first span on."""
    place = np.uint64(result.ctypes.data)
    for i in range(spans.shape[0]):
        to = place + np.uint64(4 * (spans[i, 0] - spans[0, 0]))
        _loop(addresses[i], numbers[i], words[i], spans[i, 0], spans[i, 1], to)


def histogram(addresses, numbers, words, spans, counts, scratch):
    """Count the sizes of one call by their upper bits."""
    bits, place = scratch.view(np.uint32), np.uint64(scratch.ctypes.data)
    first = spans[0, 0]
    while first < spans[0, 1]:  # a range with this step could raise
        last = min(first + scratch.size, spans[0, 1])
        _loop(addresses[0], numbers[0], words[0], first, last, place)
        for i in range(last - first):
            counts[bits[i] >> SHIFT] += 1
        first += scratch.size


def by_draw(addresses, numbers, words, spans, key, rounder, scratch, bins):
    """Add each rounded size of one call to the bin of its random number; its first index is even."""
    place = np.uint64(scratch.ctypes.data)
    first = spans[0, 0]
    while first < spans[0, 1]:  # a range with this step could raise
        last = min(first + scratch.size, spans[0, 1])
        _loop(addresses[0], numbers[0], words[0], first, last, place)
        for i in range(0, last - first, 2):
            bits = hashed((first + i) >> 1, key[0], key[1])
            bins[bits & np.uint32(N_VALUES - 1)] += (np.float64(scratch[i]) + rounder) - rounder
            if i + 1 < last - first:
                bins[bits >> np.uint32(16)] += (np.float64(scratch[i + 1]) + rounder) - rounder
        first += scratch.size


def collect(addresses, numbers, words, spans, wanted, scratch, equals, sizes, places, n):
    """Write bits and indices of the sizes of one call whose upper bits are ``wanted``; n[0] is their number.

    Those whose lower bits are 0 are only counted, in ``equals`` per ``scratch.size`` entries: differences of
    16-bit numbers have few bits, so they are most of a bin.
    """
    bits, place = scratch.view(np.uint32), np.uint64(scratch.ctypes.data)
    least, found = wanted << SHIFT, 0
    first = spans[0, 0]
    while first < spans[0, 1]:  # a range with this step could raise
        last = min(first + scratch.size, spans[0, 1])
        _loop(addresses[0], numbers[0], words[0], first, last, place)
        bits[last - first :] = ~np.uint32(0)
        n_equal = np.uint32(0)
        for group in range(0, last - first, GROUP):
            n_here, equal_here = np.uint32(0), np.uint32(0)
            for i in range(group, group + GROUP):
                n_here += np.uint32((bits[i] >> SHIFT) == wanted)
                equal_here += np.uint32(bits[i] == least)
            n_equal += equal_here
            if n_here == equal_here:
                continue
            for i in range(group, group + GROUP):
                if bits[i] >> SHIFT == wanted and bits[i] != least:
                    sizes[found], places[found] = bits[i], first + i
                    found += 1
        equals[(first - spans[0, 0]) // scratch.size] = n_equal
        first += scratch.size
    n[0] = found


def order(numbers, keyed, counts, places):
    """Write the places of uint32 numbers in ascending order; of equal ones the first is first."""
    _sort(numbers, keyed, counts, places, False)


@inline
def _sort(numbers, keyed, counts, result, ranks):
    """Write the rank of each number, or the place of each rank's number; of equal ones the first is first.

    It is a radix sort in ``machine_code.sort_memory``, by digits of at most 12 bits, among those in which the
    numbers differ.
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


@inline
def _count(numbers, shift, places):
    places[:] = 0
    mask = np.uint32(places.size - 1)
    for number in numbers:
        places[(number >> shift) & mask] += np.uint32(1)
    place = np.uint32(0)
    for value in range(places.size):
        place, places[value] = place + places[value], place


@inline
def _scatter(before, shift, mask, places, after):
    for key in before:
        value = (key >> shift) & mask
        after[places[value]] = key
        places[value] += np.uint32(1)


def ranks(addresses, numbers, words, spans, length, scratch, keyed, counts, result):
    """Write the ranks of the sizes of one call in rows of ``length``; ``scratch`` is float32, one row."""
    place = np.uint64(scratch.ctypes.data)
    first = spans[0, 0]
    while first < spans[0, 1]:  # a range with this step could raise
        _loop(addresses[0], numbers[0], words[0], first, first + length, place)
        _sort(scratch.view(np.uint32), keyed, counts, result[first : first + length], True)
        first += length


NAMES = {
    **{name: value for name, value in vars(loop_memory).items() if not name.startswith("_")},
    **{name: inline(function) for name, function in ENTRY_FUNCTIONS.items()},
    "ZERO": np.float32(0.0),
    "f32": np.float32,
}
"""Names that the text of a loop may use."""
Kinds = Sequence[tuple[str, int]]
"""Types of arguments: of their numbers, as numpy names it, and number of dimensions."""
_LIBRARY = {"memcpy", "memmove", "memset"}
"""Functions that the code may call."""


def compile_function(name: str, kinds: Kinds, text: str) -> tuple[str, bytes]:
    """Return the symbol of a function with the loop of a text, and its object code."""
    symbol, module = _module(name, kinds, text)
    return symbol, machine().emit_object(module)


def _module(name: str, kinds: Kinds, text: str) -> tuple[str, llvm.ModuleRef]:
    signature = types.void(*(each for number, n in kinds for each in _types(number, n)))
    entry = cfunc(signature)(_entry(_with_loop(name, text), kinds))
    module = llvm.parse_assembly(entry.inspect_llvm())
    foreign = {
        each.name
        for each in module.functions
        if each.is_declaration and not each.name.startswith("llvm.") and each.name not in _LIBRARY
    }
    if foreign:  # such as numba's own functions, where something could raise
        raise RuntimeError(f"{name} calls {', '.join(sorted(foreign))}, which a later process has not")
    return entry.native_name, module


def _with_loop(name: str, text: str) -> Any:
    function, names = globals()[name], dict(NAMES)
    if text:
        exec(text, names)
        names = {**function.__globals__, "_loop": inline(names["loop"])}
        function = FunctionType(function.__code__, names, name)
    return inline(function)


def _entry(function: Any, kinds: Kinds) -> Callable[..., None]:
    parameters, arguments = [], []
    for k, (_, n) in enumerate(kinds):
        lengths = [f"n{k}_{i}" for i in range(n)]
        parameters += [f"a{k}", *lengths]
        arguments.append(f"array(a{k}, ({', '.join(lengths)},))" if lengths else f"a{k}")
    names = {"array": _array, "function": function}
    exec(f"def entry({', '.join(parameters)}):\n    function({', '.join(arguments)})", names)
    return names["entry"]


@intrinsic
def _array(_context, address, lengths):
    """Return the contiguous array at an address; numba's ``carray`` counts references."""

    def generate(context, builder, signature, values):
        array = make_array(signature.return_type)(context, builder)
        shape = cgutils.unpack_tuple(builder, values[1])
        itemsize = context.get_constant(types.intp, signature.return_type.dtype.bitwidth // 8)
        strides = [itemsize]
        for length in shape[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        populate_array(array, values[0], shape, strides, itemsize, meminfo=None)
        return array._getvalue()

    return types.Array(address.dtype, len(lengths), "C")(address, lengths), generate


def _types(number: str, n: int) -> list[types.Type]:
    kind = getattr(types, number)
    return [types.CPointer(kind), *[types.int64] * n] if n else [kind]
