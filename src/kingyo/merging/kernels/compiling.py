"""Compile a function of ``loop_functions`` to object code with numba."""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from kingyo.merging.kernels import loop_functions, loop_memory
from kingyo.merging.kernels.loop_memory import inline, machine
from kingyo.merging.kernels.masks import ENTRY_FUNCTIONS

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


def assembly(name: str, kinds: Kinds, text: str) -> str:
    """Return the same as assembly, to read it."""
    return machine().emit_assembly(_module(name, kinds, text)[1])


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
    function, names = getattr(loop_functions, name), dict(NAMES)
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
