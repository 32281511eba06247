"""The compiled twins of ``blend`` and ``measures``: one pass over memory, with the bits of the reference.

A pass is described by a short text (how many sources, their dtypes, what is kept, what is done), and machine
code is made for that text: every description is compiled once and cached on disk. Numbers travel in arrays.
Nothing here checks its arguments: ``packed`` does.

The text has five parts, as in ``bb/b/b/c./en``: dtypes of the sources (``b`` bfloat16, ``h`` float16, ``f``
float32); of the base, or ``-``; of the output (a capital goes past the caches); what is kept of each source
(``.`` all, ``l`` the largest, ``m`` those but for the very largest, ``c`` by chance, ``r`` by chance and a
rank of 16 bits, ``t`` of 32, ``R`` and ``T`` the same over the chance); and switches (``e`` elect, ``q`` by
equal votes, ``n`` normalize, ``s`` only what varies most, ``x`` scale).
"""

# pyright: basic, reportReturnType=false, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false, reportPrivateImportUsage=false

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kingyo.kernels.lanes import (
    DOUBLE,
    I16,
    I32,
    I64,
    Lanes,
    constant,
    everywhere,
    halves,
    indices,
    load,
    load_integers,
    store,
    total,
)

WIDTH = 16
LANES = 32
BLOCK = 1 << 15
SHIFT = np.uint32(15)
"""Sizes are counted by their upper 17 bits less the sign: 65,536 bins, 256 of each power of two."""
SHARED, PER_SOURCE = 2, 4
"""How many numbers a pass has: scale and spread; then of each source factor, share, two of what is kept."""


def compiled(function):
    """Compile without the interpreter's lock; keep the machine code on disk where there is a place for it."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True, error_model="numpy")(function)


_TEXT_FIRST = (types.uint64[::1], types.float32[::1], types.uint32[::1], types.int64, types.int64)
"""What follows the description in every function: addresses, numbers, keys, start and stop."""


class Described:
    """A function of which every description has machine code of its own.

    Args:
        function: in the subset of Python that numba compiles; its first argument is the description.
        more: the types of its arguments behind start and stop.
    """

    def __init__(self, function, *more) -> None:
        self._compiled = compiled(function)
        self._types = (*_TEXT_FIRST, *more)
        self._entries = {}

    def __call__(self, text: str, *arguments):
        entry = self._entries.get(text)
        if entry is None:
            signature = (types.literal(text), *self._types)
            self._compiled.compile(signature)
            entry = self._entries[text] = self._compiled.get_overload(signature)
        return entry(text, *arguments)


@dataclass
class Pass:
    """One step of a pass: what its description says, and where the values of its arguments are."""

    text: str
    builder: ir.IRBuilder
    addresses: ir.Value
    numbers: ir.Value
    keys: ir.Value
    width: int = 1
    _loaded: dict[tuple[str, int], ir.Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sources, self.base, self.out, self.kept, self.switches = self.text.split("/")

    @property
    def is_random(self) -> bool:
        return any(kind in "crRtT" for kind in self.kept)

    def address(self, place: int) -> ir.Value:
        return self._load(self.addresses, place)

    def number(self, place: int) -> Lanes:
        return everywhere(self.builder, self.scalar("numbers", place), self.width)

    def of(self, source: int, which: int) -> Lanes:
        return self.number(SHARED + PER_SOURCE * source + which)

    def scalar(self, what: str, place: int) -> ir.Value:
        return self._loaded[what, place]

    def load_all(self) -> None:
        """Read the arguments now, before the loop begins."""
        for place in range(SHARED + PER_SOURCE * len(self.sources)):
            self._loaded["numbers", place] = self._load(self.numbers, place)
        for place in range(2 * len(self.sources)):
            self._loaded["keys", place] = self._load(self.keys, place)

    def _load(self, array: ir.Value, place: int) -> ir.Value:
        return self.builder.load(self.builder.gep(array, [ir.Constant(I64, place)]))


def chance(step: Pass, source: int, index: ir.Value) -> Lanes:
    """16 random bits as float32; ``index`` is even where there are several lanes. See ``noise``."""
    builder, pairs = step.builder, max(1, step.width // 2)
    bits = indices(builder, builder.lshr(index, ir.Constant(I64, 1)), pairs)
    for word in (0, 1):
        bits = bits.xor(everywhere(builder, step.scalar("keys", 2 * source + word), pairs))
        bits = bits.xor(bits.right(16)).times(0x7FEB352D)
        bits = bits.xor(bits.right(15)).times(0x846CA68B)
        bits = bits.xor(bits.right(16))
    return halves(bits, index, step.width).to_floats()


def thinned(step: Pass, source: int, delta: Lanes, index: ir.Value) -> Lanes:
    """See ``Keep``: limits by magnitude are given so that equal ones are kept."""
    first, second, kind = step.of(source, 2), step.of(source, 3), step.kept[source]
    if kind in "lm":
        kept = (delta.size() < first).pick(0.0, delta)
        return (delta.size() >= second).pick(0.0, kept) if kind == "m" else kept
    if kind == "c":
        return (chance(step, source, index) >= first * 2.0**16).pick(0.0, delta)
    table = step.address(2 + len(step.sources) + source)
    ranks = load_integers(step.builder, table, index, I16 if kind in "rR" else I32, step.width)
    likely = ranks.to_floats() * second + first
    kept = (chance(step, source, index) * 2.0**-16 >= likely).pick(0.0, delta)
    smallest = float(np.float32(1e-12))
    return kept / (likely < smallest).pick(smallest, likely) if kind in "RT" else kept


def variance(deltas: list[Lanes]) -> Lanes:
    """See ``blend.variance``."""
    n = len(deltas)
    if n == 1:
        return Lanes(deltas[0].builder, constant(deltas[0].value.type, 0.0))
    mean = total(deltas) * float(np.float32(1.0 / n))
    away = [delta - mean for delta in deltas]
    return total([each * each for each in away]) * float(np.float32(1.0 / (n - 1)))


def rows(step: Pass, index: ir.Value) -> tuple[list[Lanes], Lanes | None]:
    """What enters the sum of each source, and the base."""
    count = len(step.sources)
    base = None if step.base == "-" else load(step.builder, step.address(0), index, step.base, step.width)
    found = []
    for k in range(count):
        delta = load(step.builder, step.address(2 + k), index, step.sources[k], step.width)
        delta = delta if base is None else delta - base
        found.append(delta if step.kept[k] == "." else thinned(step, k, delta, index))
    if "s" in step.switches:
        steady = variance(found) < step.number(1)
        found = [steady.pick(0.0, delta) for delta in found]
    return found, base


def elected(step: Pass, deltas: list[Lanes], terms: list[Lanes]) -> Lanes:
    """See ``Blend``."""
    votes = total(deltas if "q" in step.switches else terms)
    sign = (votes >= 0.0).pick(1.0, -1.0)
    agreeing = [term * sign for term in terms]
    agreeing = [(term <= 0.0).pick(0.0, term) for term in agreeing]
    merged = total(agreeing) * sign
    if "n" not in step.switches:
        return merged
    divisor = total([(term > 0.0).pick(step.of(k, 1), 0.0) for k, term in enumerate(agreeing)])
    smallest = float(np.float32(1e-8))
    return merged / (divisor.size() < smallest).pick(1.0, divisor)


def blended(step: Pass, index: ir.Value) -> Lanes:
    """One step of a blend."""
    deltas, base = rows(step, index)
    terms = [delta * step.of(k, 0) for k, delta in enumerate(deltas)]
    merged = elected(step, deltas, terms) if "e" in step.switches else total(terms)
    merged = merged * step.number(0) if "x" in step.switches else merged
    return merged if base is None else merged + base


def _each_step(context, builder, signature, arguments, body, width) -> None:
    """Call ``body(step, index)`` for steps of ``width`` lanes, and of one for what is left of the span."""
    text = signature.args[0].literal_value
    arrays = [
        context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args[1:4], arguments[1:4], strict=True)
    ]
    start, stop = arguments[4:6]
    alone = Pass(text, builder, *arrays)
    even = start
    if alone.is_random:  # two neighbours share a hash: lanes begin at an even index
        even = builder.add(start, builder.and_(start, ir.Constant(I64, 1)))
        even = builder.select(builder.icmp_signed(">", even, stop), stop, even)
    left = builder.srem(builder.sub(stop, even), ir.Constant(I64, width))
    wide = builder.sub(stop, left)
    for lanes, first, last in ((1, start, even), (width, even, wide), (1, wide, stop)):
        if first is last:
            continue
        step = Pass(text, builder, *arrays, width=lanes)
        step.load_all()
        with cgutils.for_range_slice(builder, first, last, ir.Constant(I64, lanes), I64) as (index, _):
            body(step, index)


@intrinsic(prefer_literal=True)
def _blend(_context, text, addresses, numbers, keys, start, stop):
    """Write a span of a blend; return the bits of the largest magnitude (NaN is larger than infinity).

    Where one is NaN, what was written of it in bfloat16 is not to be used.
    """

    def generate(context, builder, signature, arguments):
        worst = {width: cgutils.alloca_once(builder, ir.VectorType(I32, width)) for width in (WIDTH, 1)}
        for width, place in worst.items():
            builder.store(constant(ir.VectorType(I32, width), 0), place)

        def body(step: Pass, index: ir.Value) -> None:
            merged = blended(step, index)
            store(merged, step.address(1), index, step.out)
            place = worst[step.width]
            size = merged.size().bits()
            builder.store(size.larger(Lanes(builder, builder.load(place))).value, place)

        _each_step(context, builder, signature, arguments, body, WIDTH)
        found = ir.Constant(I32, 0)
        for width, place in worst.items():
            for lane in range(width):
                size = builder.extract_element(builder.load(place), ir.Constant(I32, lane))
                found = builder.select(builder.icmp_unsigned(">", size, found), size, found)
        return found

    return types.uint32(text, addresses, numbers, keys, start, stop), generate


@intrinsic(prefer_literal=True)
def _sizes(_context, text, addresses, numbers, keys, start, stop):
    """Write magnitudes of the first row, or with ``v`` the variance over all, as float32."""

    def generate(context, builder, signature, arguments):
        def body(step: Pass, index: ir.Value) -> None:
            found, _ = rows(step, index)
            store(variance(found) if "v" in step.switches else found[0].size(), step.address(1), index, "f")

        _each_step(context, builder, signature, arguments, body, WIDTH)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop), generate


@intrinsic(prefer_literal=True)
def _matches(_context, text, addresses, numbers, keys, start, stop, wanted, matches):
    """As ``_sizes``; and of each 16 one bit: whether its upper bits are ``wanted``."""

    def generate(context, builder, signature, arguments):
        start, wanted = arguments[4], arguments[6]
        into = context.make_array(signature.args[7])(context, builder, arguments[7]).data

        def body(step: Pass, index: ir.Value) -> None:
            found, _ = rows(step, index)
            size = variance(found) if "v" in step.switches else found[0].size()
            store(size, step.address(1), index, "f")
            if step.width == WIDTH:
                bins = size.bits().right(int(SHIFT))
                same = builder.icmp_unsigned("==", bins.value, everywhere(builder, wanted, WIDTH).value)
                group = builder.sdiv(builder.sub(index, start), ir.Constant(I64, WIDTH))
                builder.store(builder.bitcast(same, ir.IntType(WIDTH)), builder.gep(into, [group]))

        _each_step(context, builder, signature, arguments, body, WIDTH)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop, wanted, matches), generate


@intrinsic(prefer_literal=True)
def _sums(_context, text, addresses, numbers, keys, start, stop, lanes):
    """Add to lanes (float64, (sums, 32)): products of all pairs with ``g``, squares with ``2``, or sizes."""

    def generate(context, builder, signature, arguments):
        into = context.make_array(signature.args[6])(context, builder, arguments[6]).data

        def body(step: Pass, index: ir.Value) -> None:
            found, _ = rows(step, index)
            lane = ir.Constant(I64, 0)
            if step.width == 1:
                lane = builder.srem(builder.sub(index, arguments[4]), ir.Constant(I64, LANES))
            for k, number in enumerate(_summed(step.switches, found)):
                place = builder.gep(into, [builder.add(lane, ir.Constant(I64, k * LANES))])
                place = builder.bitcast(place, ir.VectorType(DOUBLE, step.width).as_pointer())
                before = builder.load(place)
                before.align = 8
                builder.store(builder.fadd(before, number.value), place).align = 8

        _each_step(context, builder, signature, arguments, body, LANES)
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, keys, start, stop, lanes), generate


def _summed(switches: str, found: list[Lanes]) -> list[Lanes]:
    if "g" in switches:
        wide = [row.wide() for row in found]
        return [a * b for i, a in enumerate(wide) for b in wide[i:]]
    if "2" in switches:
        return [wide * wide for wide in (row.wide() for row in found)]
    return [row.size().wide() for row in found]


def _blend_span(text, addresses, numbers, keys, start, stop):
    """Write the span start..stop of a blend; see ``_blend``."""
    return _blend(text, addresses, numbers, keys, start, stop)


def _sums_span(text, addresses, numbers, keys, start, stop, found):
    """Sums of each block of a span that begins with a block; ``found`` is float64, (blocks, sums)."""
    n_sums = found.shape[1]
    lanes = np.empty((n_sums, LANES))
    for first in range(start, stop, BLOCK):
        lanes[:] = 0.0
        _sums(text, addresses, numbers, keys, first, min(first + BLOCK, stop), lanes)
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


def _ranks_span(text, addresses, numbers, keys, start, stop, length, scratch, found):
    """Ranks of sizes within rows of ``length``, by sorting bytes; ``scratch`` is uint32, (5, length)."""
    own = addresses.copy()
    counts = np.empty(256, np.int64)
    for first in range(start, stop, length):
        own[1] = addresses[1] - np.uint64(4 * first)
        _sizes(text, own, numbers, keys, first, first + length)
        _, order = _sorted(scratch, counts, length)
        for rank in range(length):
            found[first + order[rank]] = rank


@compiled
def _sorted(scratch, counts, length):
    """Sort row 0 with its indices, stably, byte by byte; rows 1 to 4 are scratch and hold the result."""
    sizes, order, other_sizes, other_order = scratch[0], scratch[1], scratch[2], scratch[3]
    for i in range(length):
        order[i] = i
    for byte in range(4):
        shift = np.uint32(8 * byte)
        counts[:] = 0
        for i in range(length):
            counts[(sizes[i] >> shift) & np.uint32(255)] += 1
        if counts[(sizes[0] >> shift) & np.uint32(255)] == length:
            continue
        place = 0
        for digit in range(256):
            place, counts[digit] = place + counts[digit], place
        for i in range(length):
            digit = (sizes[i] >> shift) & np.uint32(255)
            other_sizes[counts[digit]] = sizes[i]
            other_order[counts[digit]] = order[i]
            counts[digit] += 1
        sizes, other_sizes = other_sizes, sizes
        order, other_order = other_order, order
    return sizes, order


blend = Described(_blend_span)
sums = Described(_sums_span, types.float64[:, ::1])
histogram = Described(_histogram_span, types.int64[::1], types.float32[::1])
collect = Described(_collect_span, types.uint32, types.float32[::1], types.uint32[::1], types.int64[::1])
ranks = Described(_ranks_span, types.int64, types.uint32[:, ::1], types.uint16[::1])
long_ranks = Described(_ranks_span, types.int64, types.uint32[:, ::1], types.int32[::1])
