"""The compiled twins of ``blend`` and ``measures``: one pass over memory, with the bits of the reference.

A pass is described by a short text (how many sources, their dtypes, what is kept, what is done), and machine
code is made for that text: every description is compiled once and cached on disk. Numbers travel in arrays.
Nothing here checks its arguments: ``packed`` does.

The text has five parts, as in ``bb/b/b/c./en``, and behind them a digest:

- dtypes of the sources: ``b`` bfloat16, ``h`` float16, ``f`` float32;
- of the base, or ``-``;
- of the output;
- what is kept of each source: ``.`` all, ``l`` the largest, ``m`` those but for the very largest, ``c`` by
  chance, ``r`` by chance and a rank of 16 bits, ``t`` of 32, ``R`` and ``T`` the same over the chance, ``d``
  what was drawn before;
- switches: ``e`` elect, ``q`` by equal votes, ``n`` normalize, ``p`` by positive shares, ``s`` only what
  varies most, ``x`` scale; of measures ``v`` the variance, ``g`` products, ``2`` squares, ``a`` magnitudes,
  ``k`` rounded magnitudes, ``w`` writing what is drawn.
"""

# pyright: basic, reportReturnType=false, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false, reportPrivateImportUsage=false

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kingyo.kernels.blocks import BLOCK, LANES, SIZE_SHIFT
from kingyo.kernels.lanes import DOUBLE, I16, I32, I64, Lanes, everywhere, store_bits
from kingyo.kernels.steps import Pass, blended, draw, drawn, rows, variance, write

WIDTH = 16
AT_ONCE = 8
SHIFT = np.uint32(SIZE_SHIFT)
LOWER = np.uint64(0xFFFFFFFF)
DIGITS = 1 << 12
CHUNK = 1 << 11
"""How many entries are drawn before they are blended: then fewer numbers are in use at a time."""
DRAWN = CHUNK // 8 + 16
"""Bytes for that: ``load_bits`` reads beyond."""


def compiled(function):
    """Compile without the interpreter's lock; keep the machine code on disk where there is a place for it."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True, error_model="numpy")(function)


_ONE = (types.uint64[::1], types.float32[::1], types.uint32[::1], types.int64, types.int64)
"""What follows the description in most functions: addresses, numbers, keys, start and stop."""
_MANY = (types.uint64[:, ::1], types.float32[:, ::1], types.uint32[:, ::1], types.int64[:, ::1])
"""The same of many passes, starts and stops in one array."""


class Described:
    """A function of which every description has machine code of its own.

    Args:
        function: in the subset of Python that numba compiles; its first argument is the description.
        kinds: the types of its other arguments.
    """

    def __init__(self, function, *kinds) -> None:
        self._compiled = compiled(function)
        self._types = kinds
        self._entries = {}
        self._lock = Lock()

    def __call__(self, text: str, *arguments):
        entry = self._entries.get(text)
        if entry is None:
            entry = self._entry(text)
        return entry(text, *arguments)

    def _entry(self, text: str):
        with self._lock:  # threads that begin together make it once
            if text not in self._entries:
                self._entries[text] = self._make(f"{text}/{_made_of()}")
            return self._entries[text]

    def _make(self, text: str):
        signature = (types.literal(text), *self._types)
        self._compiled.compile(signature)
        return self._compiled.get_overload(signature)


@cache
def _made_of() -> str:
    """A digest of this room's code, of which numba knows one file alone: it keeps what it made of a text."""
    sources = (file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]


def _each_step(context, builder, signature, arguments, body, width, is_drawn=False) -> None:
    """Call ``body(step, index)`` for steps of ``width`` lanes, and of one for what is left of the span."""
    text = signature.args[0].literal_value
    arrays = [
        context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args[1:4], arguments[1:4], strict=True)
    ]
    start, stop = arguments[4:6]
    alone = Pass(text, builder, *arrays, is_drawn=is_drawn)
    even = start
    if alone.is_random:  # two neighbours share a hash: lanes begin at an even index
        even = builder.add(start, builder.and_(start, ir.Constant(I64, 1)))
        even = builder.select(builder.icmp_signed(">", even, stop), stop, even)
    left = builder.srem(builder.sub(stop, even), ir.Constant(I64, width))
    wide = builder.sub(stop, left)
    for count, first, last in ((1, start, even), (width, even, wide), (1, wide, stop)):
        if first is last:
            continue
        step = Pass(text, builder, *arrays, width=count, is_drawn=is_drawn)
        step.load_all()
        with cgutils.for_range_slice(builder, first, last, ir.Constant(I64, count), I64) as (index, _):
            body(step, index)


@intrinsic(prefer_literal=True)
def _blend(_context, text, addresses, numbers, keys, start, stop):
    """Write a span of a blend; return the bits of the largest magnitude (NaN is larger than infinity).

    What is kept by chance was drawn before. Where one is NaN, what was written of it in bfloat16 is not to be
    used.
    """

    def generate(context, builder, signature, arguments):
        worst = {}

        def body(step: Pass, index: ir.Value) -> None:
            sizes = write(step, index, blended(step, index))
            kind = sizes.value.type
            if kind not in worst:
                worst[kind] = cgutils.alloca_once(builder, kind)  # filled with zeros
            before = Lanes(builder, builder.load(worst[kind]))
            builder.store(sizes.larger(before).value, worst[kind])

        _each_step(context, builder, signature, arguments, body, WIDTH, is_drawn=True)
        found = ir.Constant(I32, 0)
        for kind, place in worst.items():
            for lane in range(kind.count):
                size = builder.extract_element(builder.load(place), ir.Constant(I32, lane))
                if kind.element == I16:
                    size = builder.shl(builder.zext(size, I32), ir.Constant(I32, 16))
                found = builder.select(builder.icmp_unsigned(">", size, found), size, found)
        return found

    return types.uint32(text, addresses, numbers, keys, start, stop), generate


@intrinsic(prefer_literal=True)
def _n_random(_context, text):
    """How many sources are kept by chance."""

    def generate(_context, _builder, signature, _arguments):
        return ir.Constant(I64, _kinds(signature).count("c"))

    return types.int64(text), generate


@intrinsic(prefer_literal=True)
def _draw(_context, text, addresses, numbers, keys, start, stop, scratch):
    """Draw a span, which begins at a multiple of 32, into scratch, an address; ``addresses`` is told."""

    def generate(context, builder, signature, arguments):
        arrays = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[1:4], arguments[1:4], strict=True)
        ]
        start, stop, place = arguments[4:7]
        random = [k for k, kind in enumerate(_kinds(signature)) if kind == "c"]
        n = len(_kinds(signature))
        place = builder.sub(place, builder.lshr(start, ir.Constant(I64, 3)))
        for k in random:
            builder.store(place, builder.gep(arrays[0], [ir.Constant(I64, 2 + n + k)]))
            place = builder.add(place, ir.Constant(I64, DRAWN))
        step = Pass(signature.args[0].literal_value, builder, *arrays, width=LANES)
        step.load_all()
        with cgutils.for_range_slice(builder, start, stop, ir.Constant(I64, LANES), I64) as (index, _):
            step.fetch_all(index)
            for k in random:
                draw(step, k, index)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop, scratch), generate


def _kinds(signature) -> str:
    return signature.args[0].literal_value.split("/")[3]


@intrinsic(prefer_literal=True)
def _sizes(_context, text, addresses, numbers, keys, start, stop):
    """Write magnitudes of the first row, or with ``v`` the variance over all, as float32."""

    def generate(context, builder, signature, arguments):
        _each_step(context, builder, signature, arguments, _write_size, WIDTH)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop), generate


def _write_size(step: Pass, index: ir.Value) -> Lanes:
    found, _ = rows(step, index)
    size = variance(found) if "v" in step.switches else found[0].size()
    write(step, index, size)
    return size


@intrinsic(prefer_literal=True)
def _matches(_context, text, addresses, numbers, keys, start, stop, wanted, matches):
    """As ``_sizes``; and of each 16 one bit: whether its upper bits are ``wanted``."""

    def generate(context, builder, signature, arguments):
        start, wanted = arguments[4], arguments[6]
        into = context.make_array(signature.args[7])(context, builder, arguments[7]).data

        def body(step: Pass, index: ir.Value) -> None:
            size = _write_size(step, index)
            if step.width == WIDTH:
                bins = size.bits().right(int(SHIFT))
                same = builder.icmp_unsigned("==", bins.value, everywhere(builder, wanted, WIDTH).value)
                group = builder.sdiv(builder.sub(index, start), ir.Constant(I64, WIDTH))
                builder.store(builder.bitcast(same, ir.IntType(WIDTH)), builder.gep(into, [group]))

        _each_step(context, builder, signature, arguments, body, WIDTH)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop, wanted, matches), generate


@intrinsic(prefer_literal=True)
def _sums(_context, text, addresses, numbers, keys, start, stop, lanes, rounder):
    """Add to lanes (float64, (sums, 32)): products of all pairs with ``g``, squares with ``2``, or sizes.

    With ``k`` these are rounded by adding ``rounder`` and taking it away again. With ``w`` what is kept of
    the first source is written, a bit each.
    """

    def generate(context, builder, signature, arguments):
        into = context.make_array(signature.args[6])(context, builder, arguments[6]).data

        def body(step: Pass, index: ir.Value) -> None:
            found, _ = rows(step, index)
            if "w" in step.switches:
                store_bits(drawn(step, 0, index), step.address(1), index, paired=step.paired)
            lane = ir.Constant(I64, 0)
            if step.width == 1:
                lane = builder.srem(builder.sub(index, arguments[4]), ir.Constant(I64, LANES))
            parts = min(step.width, AT_ONCE)
            for first in range(0, step.width, parts):  # float64 of all lanes are more than registers hold
                some = [row.part(first, parts) for row in found]
                for k, number in enumerate(_summed(step.switches, some, arguments[7])):
                    place = builder.gep(into, [builder.add(lane, ir.Constant(I64, k * LANES + first))])
                    place = builder.bitcast(place, ir.VectorType(DOUBLE, parts).as_pointer())
                    before = builder.load(place)
                    before.align = 8
                    builder.store(builder.fadd(before, number.value), place).align = 8

        _each_step(context, builder, signature, arguments, body, LANES)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop, lanes, rounder), generate


def _summed(switches: str, found: list[Lanes], rounder: ir.Value) -> list[Lanes]:
    if "g" in switches:
        wide = [row.wide() for row in found]
        return [a * b for i, a in enumerate(wide) for b in wide[i:]]
    if "2" in switches:
        return [wide * wide for wide in (row.wide() for row in found)]
    sizes = [row.size().wide() for row in found]
    if "k" in switches:
        rounds = everywhere(found[0].builder, rounder, found[0].width)
        sizes = [(size + rounds) - rounds for size in sizes]
    return sizes


def _blend_span(text, addresses, numbers, keys, start, stop):
    """Write the span start..stop of a blend; see ``_blend``."""
    n = _n_random(text)
    if n == 0:
        return _blend(text, addresses, numbers, keys, start, stop)
    worst, own = np.uint32(0), addresses.copy()
    scratch = np.empty(n * DRAWN, np.uint8)
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        _draw(text, own, numbers, keys, first // LANES * LANES, last, np.uint64(scratch.ctypes.data))
        worst = max(worst, _blend(text, own, numbers, keys, first, last))
    return worst


_one_blend = compiled(_blend_span)


def _blends_span(text, addresses, numbers, keys, spans, worst):
    """The same of many passes of one description, a row of each array for each."""
    for i in range(spans.shape[0]):
        worst[i] = _one_blend(text, addresses[i], numbers[i], keys[i], spans[i, 0], spans[i, 1])


def _sums_span(text, addresses, numbers, keys, start, stop, found, rounder):
    """Sums of each block of a span that begins with a block; ``found`` is float64, (blocks, sums)."""
    n_sums = found.shape[1]
    lanes = np.empty((n_sums, LANES))
    for first in range(start, stop, BLOCK):
        lanes[:] = 0.0
        _sums(text, addresses, numbers, keys, first, min(first + BLOCK, stop), lanes, rounder)
        half = LANES // 2
        while half:
            for k in range(n_sums):
                for lane in range(half):
                    lanes[k, lane] += lanes[k, lane + half]
            half //= 2
        for k in range(n_sums):
            found[(first - start) // BLOCK, k] = lanes[k, 0]


def _histogram_span(text, addresses, numbers, keys, start, stop, counts, scratch):
    """Count sizes by their upper bits; address 1 is that of ``scratch`` (float32), less ``start``."""
    bits = scratch.view(np.uint32)
    own = addresses.copy()
    for first in range(start, stop, scratch.size):
        last = min(first + scratch.size, stop)
        own[1] = addresses[1] - np.uint64(4 * first)
        _sizes(text, own, numbers, keys, first, last)
        for i in range(last - first):
            counts[bits[i] >> SHIFT] += 1


def _collect_span(text, addresses, numbers, keys, start, stop, wanted, scratch, found, places):
    """Bits and indices of the sizes whose upper bits are ``wanted``, in order; returns how many."""
    bits = scratch.view(np.uint32)
    matches = np.empty(scratch.size // WIDTH, np.uint16)
    own = addresses.copy()
    n_found = 0
    for first in range(start, stop, scratch.size):
        last = min(first + scratch.size, stop)
        own[1] = addresses[1] - np.uint64(4 * first)
        _matches(text, own, numbers, keys, first, last, wanted, matches)
        groups = (last - first) // WIDTH
        for group in range(groups + 1):
            if group < groups and matches[group] == 0:
                continue
            for i in range(WIDTH * group, min(WIDTH * (group + 1), last - first)):
                if bits[i] >> SHIFT == wanted:
                    found[n_found] = bits[i]
                    places[n_found] = first + i
                    n_found += 1
    return n_found


def _sizes_span(text, addresses, numbers, keys, start, stop):
    """Write sizes."""
    _sizes(text, addresses, numbers, keys, start, stop)


def _ranks_span(text, addresses, numbers, keys, start, stop, length, scratch, found):
    """Ranks of sizes within rows of ``length``; ``scratch`` is float32, one row."""
    own = addresses.copy()
    keyed = np.empty((2, length), np.uint64)
    counts = np.empty((3, DIGITS), np.uint32)
    for first in range(start, stop, length):
        own[1] = addresses[1] - np.uint64(4 * first)
        _sizes(text, own, numbers, keys, first, first + length)
        _sort(scratch.view(np.uint32), keyed, counts, found[first : first + length], True)


@compiled
def order(numbers):
    """The places of uint32 numbers in ascending order; of equal ones the first is first."""
    found = np.empty(numbers.size, np.uint32)
    keyed = np.empty((2, numbers.size), np.uint64)
    _sort(numbers, keyed, np.empty((3, DIGITS), np.uint32), found, False)
    return found


@compiled
def _sort(numbers, keyed, counts, found, ranks):
    """Write the rank of each number, or the place of each rank's number; of equal ones the first is first.

    By digits of at most 12 bits, the lowest first, among those bits in which the numbers differ.
    """
    some, every = np.uint32(0), np.uint32(0xFFFFFFFF)
    for number in numbers:
        some |= number
        every &= number
    differ, low, high = some ^ every, 0, 32
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
            found[key & LOWER] = place
        else:
            found[place] = key & LOWER


@compiled
def _count(numbers, shift, places):
    """Where the first number of each digit goes."""
    places[:] = 0
    mask = np.uint32(places.size - 1)
    for number in numbers:
        places[(number >> shift) & mask] += np.uint32(1)
    place = np.uint32(0)
    for value in range(places.size):
        place, places[value] = place + places[value], place


@compiled
def _scatter(before, shift, mask, places, after):
    """One pass of the sort."""
    for key in before:
        value = (key >> shift) & mask
        after[places[value]] = key
        places[value] += np.uint32(1)


blend = Described(_blend_span, *_ONE)
blends = Described(_blends_span, *_MANY, types.uint32[::1])
sizes = Described(_sizes_span, *_ONE)
sums = Described(_sums_span, *_ONE, types.float64[:, ::1], types.float64)
histogram = Described(_histogram_span, *_ONE, types.int64[::1], types.float32[::1])
collect = Described(
    _collect_span, *_ONE, types.uint32, types.float32[::1], types.uint32[::1], types.int64[::1]
)
ranks = Described(_ranks_span, *_ONE, types.int64, types.float32[::1], types.uint16[::1])
long_ranks = Described(_ranks_span, *_ONE, types.int64, types.float32[::1], types.int32[::1])
