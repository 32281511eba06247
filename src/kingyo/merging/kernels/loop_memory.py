"""How compiled loops read and write entries: dtypes, random numbers, stores that bypass the caches.

Numba has no bfloat16 and no access to addresses, so the small functions here are LLVM instructions; the rest
is scalar code. A pair is two neighbours, the first with an even index. The bfloat16 of a pair share a word of
memory, and its random numbers share a hash.
"""

# pyright: basic, reportReturnType=false

import inspect
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from kingyo.merging.kernels.masks import FIRST, SECOND

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOAT, HALF = ir.FloatType(), ir.HalfType()
LINE = ir.VectorType(I32, 16)
"""A cache line."""
_PLACE = (types.uint64, types.int64)
"""Address and index of an entry."""

u32, i32 = np.uint32, np.int32
_LOWER, _15, _16 = u32(0xFFFF), u32(15), u32(16)
_FIRST, _SECOND = u32(FIRST), u32(SECOND)


INLINE: Any = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
"""Options of functions that only compiled code calls."""


def inline(function: Callable[..., Any]) -> Any:
    """Compile a function into each caller, so that loops of it become vector instructions."""
    return njit(**INLINE)(function)


def instructions(result: types.Type, *kinds: types.Type) -> Any:
    """Return a decorator that makes a function of these types from one that emits LLVM instructions."""

    def decorate(emit):
        def typed(_context, *_kinds):
            def generate(context, builder, _signature, values):
                value = emit(builder, *values)
                return context.get_dummy_value() if result == types.void else value

            return result(*kinds), generate

        typed.__signature__ = inspect.signature(emit)  # numba counts its arguments
        return intrinsic(typed)

    return decorate


def machine() -> llvm.TargetMachine:
    """Describe the processor here, or the one that ``NUMBA_CPU_NAME`` names."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    chosen: Any = config
    features = chosen.CPU_FEATURES
    if features is None:
        features = "" if chosen.CPU_NAME else llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(
        cpu=chosen.CPU_NAME or llvm.get_host_cpu_name(),
        features=features,
        opt=chosen.OPT,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _reader(stored, kind) -> Any:
    @instructions(kind, *_PLACE)
    def read(builder, address, i):
        pointer = builder.inttoptr(address, stored.as_pointer())
        value = builder.load(builder.gep(pointer, [i]))
        value.align = 1
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return builder.fpext(value, FLOAT) if stored == HALF else value

    return read


def _writer(stored, kind, step=None) -> Any:
    """Return a function that writes entry i at an address; ``step`` is the type of an entry if it differs."""

    @instructions(types.void, *_PLACE, kind)
    def write(builder, address, i, number):
        first = builder.inttoptr(address, (step or stored).as_pointer())
        pointer = builder.bitcast(builder.gep(first, [i]), stored.as_pointer())
        value = builder.fptrunc(number, HALF) if stored == HALF else number
        builder.store(value, pointer).align = 1

    return write


_read16, _write16 = _reader(I16, types.uint16), _writer(I16, types.uint16)
_read32, _write_pair = _reader(I32, types.uint32), _writer(I32, types.uint32, step=I16)
read_h, write_h = _reader(HALF, types.float32), _writer(HALF, types.float32)
read_f, write_f = _reader(FLOAT, types.float32), _writer(FLOAT, types.float32)


@instructions(types.float32, types.boolean, types.float32, types.float32)
def pick(builder, condition, yes, no):
    """Return one of two numbers by a select; a branch would keep LLVM from vectorising the loop."""
    return builder.select(condition, yes, no)


@instructions(types.uint32, types.float32)
def size(builder, number):
    """Return the bits of the magnitude: NaN is larger than infinity."""
    return builder.and_(builder.bitcast(number, I32), I32(0x7FFFFFFF))


@instructions(types.uint64, types.float64)
def bits64(builder, number):
    return builder.bitcast(number, I64)


@instructions(types.float32, types.float32, types.float32)
def turned(builder, number, like):
    """Return the number, with its sign flipped where ``like`` has a minus sign (-0 has)."""
    sign = builder.and_(builder.bitcast(like, I32), I32(0x80000000))
    return builder.bitcast(builder.xor(builder.bitcast(number, I32), sign), FLOAT)


@instructions(types.float32, types.uint32)
def _lower(builder, word):
    return builder.bitcast(builder.shl(word, I32(16)), FLOAT)


@instructions(types.float32, types.uint32)
def _upper(builder, word):
    return builder.bitcast(builder.and_(word, I32(0xFFFF0000)), FLOAT)


@instructions(types.uint32, types.float32)
def _rounded(builder, number):
    bits = builder.bitcast(number, I32)
    is_odd = builder.and_(builder.lshr(bits, I32(16)), I32(1))
    return builder.add(bits, builder.add(is_odd, I32(0x7FFF)))


@instructions(types.uint32, types.uint32, types.uint32)
def _beside(builder, lower, upper):
    return builder.or_(builder.lshr(lower, I32(16)), builder.and_(upper, I32(0xFFFF0000)))


@inline
def read_b(address, i):
    return _lower(u32(_read16(address, i)))


@inline
def read_r(address, i):
    return i32(_read16(address, i))


@inline
def pair_b(address, i):
    word = _read32(address, i >> 1)
    return _lower(word), _upper(word)


def _pair_reader(read) -> Any:
    return inline(lambda address, i: (read(address, i), read(address, i + 1)))


pair_h, pair_f = map(_pair_reader, (read_h, read_f))


@inline
def pair_r(address, i):
    return _halves(_read32(address, i >> 1))


@inline
def write_b(to, i, number):
    _write16(to, i, np.uint16(_rounded(number) >> _16))


@inline
def put_b(to, i, even, odd):
    _write_pair(to, i, _beside(_rounded(even), _rounded(odd)))


def _pair_writer(write) -> Any:
    def put(to, i, even, odd):
        write(to, i, even)
        write(to, i + 1, odd)

    return inline(put)


put_h, put_f = map(_pair_writer, (write_h, write_f))


@inline
def hashed(pair, first, second):
    """Return the 32 random bits of a pair; see ``masks.uniform``. Numba multiplies in 64 bits."""
    bits = u32(u32(pair) ^ first)
    bits = u32(u32(bits ^ u32(bits >> _16)) * _FIRST)
    bits = u32(bits ^ second)
    bits = u32(u32(bits ^ u32(bits >> _15)) * _SECOND)
    return u32(bits ^ u32(bits >> _16))


@inline
def _halves(word):
    return i32(word & _LOWER), i32(u32(word >> _16))


@inline
def pair_draw(pair, first, second):
    return _halves(hashed(pair, first, second))


@inline
def draw(i, first, second):
    even, odd = _halves(hashed(i >> 1, first, second))
    return odd if i & 1 else even


@instructions(types.void, types.uint64, types.uint64, types.int64)
def _stream(builder, to, start, n_lines):
    """Copy lines and bypass the caches; ``to`` is a multiple of a line."""
    with cgutils.for_range(builder, n_lines, intp=I64) as loop:
        offset = builder.mul(loop.index, I64(64))
        value = builder.load(builder.inttoptr(builder.add(start, offset), LINE.as_pointer()))
        value.align = 1
        written = builder.store(value, builder.inttoptr(builder.add(to, offset), LINE.as_pointer()))
        written.align = 64
        written.set_metadata("nontemporal", builder.module.add_metadata([I32(1)]))


@instructions(types.void, types.uint64, types.uint64, types.int64)
def _copy(builder, to, start, n_bytes):
    to, start = (builder.inttoptr(each, I8.as_pointer()) for each in (to, start))
    cgutils.raw_memcpy(builder, to, start, n_bytes, 1)


@inline
def copy_out(to, start, n_bytes, bypass_caches):
    """Copy bytes; full lines may bypass the caches."""
    done = 0
    if bypass_caches and not to & np.uint64(63):
        done = n_bytes // 64 * 64
        _stream(to, start, n_bytes // 64)
    if done < n_bytes:
        _copy(to + np.uint64(done), start + np.uint64(done), n_bytes - done)
