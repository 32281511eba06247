"""The compiled twins of ``blend`` and ``measures``: one pass over memory, with the bits of the reference.

A pass is described by a short text (how many sources, their dtypes, what is kept, what is done), and machine
code is made for that text: every description is compiled once and cached on disk. Numbers travel in arrays.
Nothing here checks its arguments: ``packed`` does.

The text has five parts, as in ``bb/b/b/c./en``, and behind them a digest:

- dtypes of the sources: ``b`` bfloat16, ``h`` float16, ``f`` float32;
- of the base, or ``-``;
- of the output; a capital goes past the caches;
- what is kept of each source: ``.`` all, ``l`` the largest, ``m`` those but for the very largest, ``c`` by
  chance, ``r`` by chance and a rank of 16 bits, ``t`` of 32, ``R`` and ``T`` the same over the chance, ``d``
  what was drawn before;
- switches: ``e`` elect, ``q`` by equal votes, ``n`` normalize, ``p`` by positive shares, ``s`` only what
  varies most, ``x`` scale; of measures ``v`` the variance, ``g`` products, ``2`` squares, ``a`` magnitudes,
  ``k`` rounded magnitudes, ``w`` writing what is drawn.
"""

# pyright: basic, reportReturnType=false, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false, reportPrivateImportUsage=false

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kingyo.kernels.blocks import BLOCK, LANES, SIZE_SHIFT
from kingyo.kernels.lanes import DOUBLE, I16, I32, I64, Lanes, everywhere, store_bits
from kingyo.kernels.machine_code import Described, compiled
from kingyo.kernels.noise import FIRST, N_CHANCES, SECOND
from kingyo.kernels.ordering import DIGITS, sort
from kingyo.kernels.steps import Pass, blended, draw, is_kept, rows, variance, write

WIDTH = 16
SUMMED = 8
"""Lanes that are summed at a time: float64 of more do not fit into registers."""
SHIFT = np.uint32(SIZE_SHIFT)
CHUNK = 1 << 11
"""How many entries are drawn before they are blended: then fewer numbers are in use at a time."""
SCRATCH = CHUNK // 8 + 16
"""Bytes for that: ``load_bits`` reads beyond."""


_ONE = (types.uint64[::1], types.float32[::1], types.uint32[::1], types.int64, types.int64)
"""What follows the description in most functions: addresses, numbers, keys, start and stop."""
_MANY = (types.uint64[:, ::1], types.float32[:, ::1], types.uint32[:, ::1], types.int64[:, ::1])
"""The same of many passes, starts and stops in one array."""


def _each_step(context, builder, signature, arguments, body, width, is_drawn=False) -> None:
    """Call ``body(step, index)`` for steps of ``width`` lanes, and of one for what is left of the span."""
    text = signature.args[0].literal_value
    arrays = [
        context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args[1:4], arguments[1:4], strict=True)
    ]
    start, stop = arguments[4:6]
    alone = Pass(text, builder, *arrays, is_drawn=is_drawn)
    # two neighbours share a hash; what goes past the caches begins at a multiple of its bytes
    multiple = width if alone.goes_past else 2 if alone.is_random else 1
    even = start
    if multiple > 1:
        rest = ir.Constant(I64, multiple - 1)
        even = builder.and_(builder.add(start, rest), builder.not_(rest))
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
    """Draw a span, which begins at a multiple of 32, into scratch, an address.

    The place of each source's bits is put into ``addresses``.
    """

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
            place = builder.add(place, ir.Constant(I64, SCRATCH))
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
                store_bits(is_kept(step, 0, index), step.address(1), index, paired=step.paired)
            lane = ir.Constant(I64, 0)
            if step.width == 1:
                lane = builder.srem(builder.sub(index, arguments[4]), ir.Constant(I64, LANES))
            parts = min(step.width, SUMMED)
            for first in range(0, step.width, parts):
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
    scratch = np.empty(n * SCRATCH, np.uint8)
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        _draw(text, own, numbers, keys, first // LANES * LANES, last, np.uint64(scratch.ctypes.data))
        worst = max(worst, _blend(text, own, numbers, keys, first, last))
    return worst


_one_blend = compiled(_blend_span)


def _blends_span(text, addresses, numbers, keys, spans, worst):
    """Many passes of one description, see ``_blend_span``; a row of each array for each.

    What goes past the caches is there for other threads once this thread takes the interpreter's lock.
    """
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


def _exact_sums_span(text, addresses, numbers, keys, spans, rounders, found):
    """The sum of each of many passes whose rounded magnitudes have one sum in any order."""
    lanes = np.empty((1, LANES))
    for i in range(spans.shape[0]):
        lanes[:] = 0.0
        _sums(text, addresses[i], numbers[i], keys[i], spans[i, 0], spans[i, 1], lanes, rounders[i])
        found[i] = lanes.sum()


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


def _by_chance_span(text, addresses, numbers, keys, start, stop, rounder, scratch, bins):
    """Add each rounded size to the bin of its random number; address 1 is as in ``_histogram_span``.

    ``start`` is even, and ``keys`` are those of the random numbers, which nothing is kept by here.
    """
    own = addresses.copy()
    for first in range(start, stop, scratch.size):
        last = min(first + scratch.size, stop)
        own[1] = addresses[1] - np.uint64(4 * first)
        _sizes(text, own, numbers, keys, first, last)
        for i in range(0, last - first, 2):
            bits = hashed(np.uint32((first + i) >> 1), keys[0], keys[1])
            bins[bits & np.uint32(N_CHANCES - 1)] += (np.float64(scratch[i]) + rounder) - rounder
            if i + 1 < last - first:
                bins[bits >> np.uint32(16)] += (np.float64(scratch[i + 1]) + rounder) - rounder


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
        sort(scratch.view(np.uint32), keyed, counts, found[first : first + length], True)


@compiled
def hashed(pair, first, second):
    """The twin of ``noise``, of one pair; numba multiplies in 64 bits."""
    bits = np.uint32(pair ^ first)
    bits = np.uint32((bits ^ (bits >> np.uint32(16))) * np.uint32(FIRST))
    bits = np.uint32(bits ^ second)
    bits = np.uint32((bits ^ (bits >> np.uint32(15))) * np.uint32(SECOND))
    return np.uint32(bits ^ (bits >> np.uint32(16)))


blend = Described(_blend_span, *_ONE)
blends = Described(_blends_span, *_MANY, types.uint32[::1])
sizes = Described(_sizes_span, *_ONE)
sums = Described(_sums_span, *_ONE, types.float64[:, ::1], types.float64)
exact_sums = Described(_exact_sums_span, *_MANY, types.float64[::1], types.float64[::1])
histogram = Described(_histogram_span, *_ONE, types.int64[::1], types.float32[::1])
by_chance = Described(_by_chance_span, *_ONE, types.float64, types.float32[::1], types.float64[::1])
collect = Described(
    _collect_span, *_ONE, types.uint32, types.float32[::1], types.uint32[::1], types.int64[::1]
)
ranks = Described(_ranks_span, *_ONE, types.int64, types.float32[::1], types.uint16[::1])
long_ranks = Described(_ranks_span, *_ONE, types.int64, types.float32[::1], types.int32[::1])
