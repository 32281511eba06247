"""Numbers side by side: arithmetic on vectors, written as on one number, that becomes vector instructions.

The compiled passes are written with it once, for any number of sources and any dtypes; LLVM (through numba)
makes machine code of it. It knows no merging.
"""

# pyright: basic, reportReturnType=false, reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llvmlite import ir

FLOAT, HALF, DOUBLE = ir.FloatType(), ir.HalfType(), ir.DoubleType()
I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
STORED = {"b": I16, "h": HALF, "f": FLOAT}
"""Letters of dtypes: bfloat16, float16, float32."""

_SIGN, _SIZE = 0x80000000, 0x7FFFFFFF
_UPPER = 0xFFFF0000


class Lanes(NamedTuple):
    """As many numbers as the vector type says; ``builder`` receives the instructions."""

    builder: ir.IRBuilder
    value: ir.Value

    @property
    def width(self) -> int:
        """How many numbers these are."""
        return self.value.type.count

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fadd, other)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fsub, other)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fmul, other)

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fdiv, other)

    def __lt__(self, other: Lanes | float) -> Lanes:
        return self._compare("<", other)

    def __le__(self, other: Lanes | float) -> Lanes:
        return self._compare("<=", other)

    def __gt__(self, other: Lanes | float) -> Lanes:
        return self._compare(">", other)

    def __ge__(self, other: Lanes | float) -> Lanes:
        return self._compare(">=", other)

    def pick(self, yes: Lanes | float, no: Lanes | float) -> Lanes:
        """``yes`` where these truths hold, else ``no``; floats."""
        kind = ir.VectorType(FLOAT, self.width)
        chosen = (each.value if isinstance(each, Lanes) else constant(kind, each) for each in (yes, no))
        return Lanes(self.builder, self.builder.select(self.value, *chosen))

    def no(self) -> Lanes:
        """The opposite of these truths."""
        return Lanes(self.builder, self.builder.not_(self.value))

    def sign(self) -> Lanes:
        """The sign bits, as 32-bit integers."""
        return self.bits().masked(_SIGN)

    def turned(self, sign: Lanes) -> Lanes:
        """The same magnitudes, their signs turned where a sign bit is set."""
        return self.bits().xor(sign).as_floats()

    def size(self) -> Lanes:
        """Magnitudes."""
        return self.bits().masked(_SIZE).as_floats()

    def wide(self) -> Lanes:
        """As float64."""
        kind = ir.VectorType(DOUBLE, self.width)
        return Lanes(self.builder, self.builder.fpext(self.value, kind))

    def part(self, first: int, count: int) -> Lanes:
        """Some lanes."""
        if count == self.width:
            return self
        order = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
        return Lanes(self.builder, self.builder.shuffle_vector(self.value, self.value, order))

    def bits(self) -> Lanes:
        """The bits of float32 as 32-bit integers."""
        return Lanes(self.builder, self.builder.bitcast(self.value, ir.VectorType(I32, self.width)))

    def as_floats(self) -> Lanes:
        """32-bit integers as the float32 of those bits."""
        return Lanes(self.builder, self.builder.bitcast(self.value, ir.VectorType(FLOAT, self.width)))

    def to_integers(self) -> Lanes:
        """Floats without a fraction as signed 32-bit integers."""
        return Lanes(self.builder, self.builder.fptosi(self.value, ir.VectorType(I32, self.width)))

    def to_floats(self) -> Lanes:
        """Signed 32-bit integers as the nearest float32."""
        return Lanes(self.builder, self.builder.sitofp(self.value, ir.VectorType(FLOAT, self.width)))

    def below(self, limit: Lanes) -> Lanes:
        """Whether signed integers are."""
        return Lanes(self.builder, self.builder.icmp_signed("<", self.value, limit.value))

    def masked(self, bits: int) -> Lanes:
        """Integers, bitwise and."""
        return self._with(self.builder.and_, bits)

    def xor(self, other: Lanes) -> Lanes:
        """Integers, bitwise exclusive or."""
        return self._with(self.builder.xor, other)

    def left(self, bits: int) -> Lanes:
        """Integers, shifted left."""
        return self._with(self.builder.shl, bits)

    def right(self, bits: int) -> Lanes:
        """Unsigned integers, shifted right."""
        return self._with(self.builder.lshr, bits)

    def plus(self, other: Lanes | int) -> Lanes:
        """Integers, added modulo 2^32."""
        return self._with(self.builder.add, other)

    def times(self, factor: int) -> Lanes:
        """Integers, multiplied modulo 2^32."""
        return self._with(self.builder.mul, factor)

    def larger(self, other: Lanes) -> Lanes:
        """The larger of two unsigned integers each."""
        above = self.builder.icmp_unsigned(">", self.value, other.value)
        return Lanes(self.builder, self.builder.select(above, self.value, other.value))

    def _with(self, operation, other: Lanes | float) -> Lanes:
        value = other.value if isinstance(other, Lanes) else constant(self.value.type, other)
        return Lanes(self.builder, operation(self.value, value))

    def _compare(self, how: str, other: Lanes | float) -> Lanes:
        value = other.value if isinstance(other, Lanes) else constant(self.value.type, other)
        return Lanes(self.builder, self.builder.fcmp_ordered(how, self.value, value))


def constant(kind: ir.VectorType, number: float) -> ir.Constant:
    """The same number in every lane."""
    return ir.Constant(kind, [number] * kind.count)


def everywhere(builder: ir.IRBuilder, scalar: ir.Value, width: int) -> Lanes:
    """A scalar in every lane."""
    kind = ir.VectorType(scalar.type, width)
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(I32, 0))
    return Lanes(builder, builder.shuffle_vector(first, nothing, constant(ir.VectorType(I32, width), 0)))


def indices(builder: ir.IRBuilder, first: ir.Value, width: int) -> Lanes:
    """first, first + 1, … modulo 2^32."""
    steps = Lanes(builder, ir.Constant(ir.VectorType(I32, width), list(range(width))))
    return everywhere(builder, builder.trunc(first, I32), width).plus(steps)


def halves(bits: Lanes, index: ir.Value, width: int, *, paired: bool) -> Lanes:
    """The lower and the upper 16 bits of each integer, as 32-bit integers.

    Args:
        bits: half as many integers as ``width``; or one, whose upper half is taken if ``index`` is odd.
        index: of the first half.
        width: how many halves are wanted.
        paired: all lower ones, then all upper ones; else in turn.
    """
    builder, kind = bits.builder, ir.VectorType(I32, width)
    if width == 1:
        odd = builder.trunc(builder.and_(index, ir.Constant(I64, 1)), I32)
        shift = everywhere(builder, builder.mul(odd, ir.Constant(I32, 16)), 1)
        return Lanes(builder, builder.lshr(bits.value, shift.value)).masked(0xFFFF)
    if paired:
        return beside(bits.masked(0xFFFF), bits.right(16))
    order = ir.Constant(kind, [lane // 2 for lane in range(width)])
    twice = builder.shuffle_vector(bits.value, ir.Constant(bits.value.type, ir.Undefined), order)
    shifts = ir.Constant(kind, [16 * (lane % 2) for lane in range(width)])
    return Lanes(builder, builder.lshr(twice, shifts)).masked(0xFFFF)


def beside(first: Lanes, second: Lanes) -> Lanes:
    """The lanes of one, then those of another."""
    order = ir.Constant(ir.VectorType(I32, 2 * first.width), list(range(2 * first.width)))
    return Lanes(first.builder, first.builder.shuffle_vector(first.value, second.value, order))


def parted(numbers: Lanes) -> tuple[Lanes, Lanes]:
    """The first half of the lanes, and the second: what ``beside`` put together."""
    half = numbers.width // 2
    return numbers.part(0, half), numbers.part(half, half)


def load(
    builder: ir.IRBuilder, address: ir.Value, index: ir.Value, dtype: str, width: int, *, paired: bool = False
) -> Lanes:
    """Numbers from memory, as float32; ``address`` is an integer, ``index`` counts elements.

    ``paired``, which only bfloat16 can be, gives those of even places first, then those of odd ones.
    """
    if paired:
        words = _load_words(builder, address, index, width)
        return beside(words.left(16), words.masked(_UPPER)).as_floats()
    raw = builder.load(_pointer(builder, address, index, STORED[dtype], width))
    raw.align = 1
    if dtype == "b":
        return Lanes(builder, builder.zext(raw, ir.VectorType(I32, width))).left(16).as_floats()
    if dtype == "h":
        return Lanes(builder, builder.fpext(raw, ir.VectorType(FLOAT, width)))
    return Lanes(builder, raw)


def fetch(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, kind: ir.Type) -> None:
    """Say that memory will be read soon; it need not exist."""
    byte = I8.as_pointer()
    place = builder.bitcast(_pointer(builder, address, index, kind, 1), byte)
    signature = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    reads, keep, data = (ir.Constant(I32, number) for number in (0, 3, 1))
    builder.call(
        builder.module.declare_intrinsic("llvm.prefetch", [byte], signature), [place, reads, keep, data]
    )


def load_integers(
    builder: ir.IRBuilder, address: ir.Value, index: ir.Value, kind: ir.IntType, width: int, *, paired: bool
) -> Lanes:
    """Unsigned 16-bit or signed 32-bit integers from memory, as 32-bit ones; ``paired`` as in ``load``."""
    if paired:
        return halves(_load_words(builder, address, index, width), index, width, paired=True)
    raw = builder.load(_pointer(builder, address, index, kind, width))
    raw.align = 1
    return Lanes(builder, builder.zext(raw, ir.VectorType(I32, width)) if kind.width == 16 else raw)


def load_bits(
    builder: ir.IRBuilder, address: ir.Value, index: ir.Value, width: int, *, paired: bool
) -> Lanes:
    """Truths from memory, a bit each, the lowest first; ``paired`` as in ``load``. Eight bytes are read."""
    byte = builder.add(address, builder.lshr(index, ir.Constant(I64, 3)))
    raw = builder.load(builder.inttoptr(byte, I64.as_pointer()))
    raw.align = 1
    word = builder.lshr(raw, builder.and_(index, ir.Constant(I64, 7)))
    own = ir.Constant(ir.VectorType(I32, width), [1 << place for place in _places(width, paired=paired)])
    bits = builder.and_(everywhere(builder, builder.trunc(word, I32), width).value, own)
    return Lanes(builder, builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, None)))


def store_bits(truths: Lanes, address: ir.Value, index: ir.Value, *, paired: bool) -> None:
    """Truths to memory, in order from the first of a byte; of several lanes ``index`` counts whole bytes."""
    builder, width = truths.builder, truths.width
    byte = builder.add(address, builder.lshr(index, ir.Constant(I64, 3)))
    if width == 1:
        place = builder.inttoptr(byte, I8.as_pointer())
        bit = builder.zext(builder.extract_element(truths.value, ir.Constant(I32, 0)), I8)
        shift = builder.trunc(builder.and_(index, ir.Constant(I64, 7)), I8)
        is_first = builder.icmp_unsigned("==", shift, ir.Constant(I8, 0))
        before = builder.select(is_first, ir.Constant(I8, 0), builder.load(place))
        builder.store(builder.or_(before, builder.shl(bit, shift)), place)
        return
    lanes = _places(width, paired=paired)
    order = ir.Constant(ir.VectorType(I32, width), [lanes.index(place) for place in range(width)])
    sorted_ = builder.shuffle_vector(truths.value, truths.value, order)
    kind = ir.IntType(width)
    builder.store(builder.bitcast(sorted_, kind), builder.inttoptr(byte, kind.as_pointer())).align = 1


def _places(width: int, *, paired: bool) -> list[int]:
    """Which element each lane has."""
    return [*range(0, width, 2), *range(1, width, 2)] if paired else list(range(width))


def store(numbers: Lanes, address: ir.Value, index: ir.Value, dtype: str, *, paired: bool = False) -> Lanes:
    """Numbers to memory, rounded to the dtype: to nearest, of two equally near ones to the even.

    In bfloat16 NaN may become anything, but where all that was computed with was bfloat16 too, as in paired
    lanes. Of a capital letter several lanes go past the caches, to a place that is a multiple of their bytes.

    Returns:
        The bits of the magnitudes, before they were rounded; of paired lanes after it, and only the upper 16.
    """
    builder, width = numbers.builder, numbers.width
    past, dtype = dtype.isupper() and width > 1, dtype.lower()
    value, sizes, kind = numbers.value, numbers.size().bits(), ir.VectorType(STORED[dtype], width)
    if paired:
        even, odd = parted(_rounded(numbers))
        words = Lanes(builder, builder.or_(even.right(16).value, odd.masked(_UPPER).value))
        value = builder.bitcast(words.value, kind)
        sizes = Lanes(builder, value).masked(0x7FFF)
    elif dtype == "b":
        value = builder.trunc(_rounded(numbers).right(16).value, kind)
    elif dtype == "h":
        value = builder.fptrunc(value, kind)
    written = builder.store(value, _pointer(builder, address, index, STORED[dtype], width))
    written.align = width * (4 if dtype == "f" else 2) if past else 1
    if past:
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)]))
    return sizes


def total(items: Sequence[Lanes]) -> Lanes:
    """The sum, added in order."""
    found = items[0]
    for item in items[1:]:
        found = found + item
    return found


def _rounded(numbers: Lanes) -> Lanes:
    """Bits of which the upper 16 are the bfloat16."""
    bits = numbers.bits()
    return bits.plus(bits.right(16).masked(1).plus(0x7FFF))


def _load_words(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, width: int) -> Lanes:
    """Pairs of 16 bits as 32-bit integers: ``width`` halves."""
    place = _pointer(builder, address, index, I16, width)
    raw = builder.load(builder.bitcast(place, ir.VectorType(I32, width // 2).as_pointer()))
    raw.align = 1
    return Lanes(builder, raw)


def _pointer(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, kind: ir.Type, width: int):
    first = builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])
    return builder.bitcast(first, ir.VectorType(kind, width).as_pointer())
