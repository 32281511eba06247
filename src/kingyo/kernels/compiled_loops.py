"""Compiled functions that run a loop of ``loop_text`` over memory: weighted sums, sums, histograms, ranks.

They are bit-identical to torch. The first arguments of each are those of ``loop_arguments.call_arguments``:
the text, and arrays with one row per call. Arguments are not checked. ``loop_functions`` has their source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kingyo.kernels.machine_code import CompiledFunction

DIGITS = 1 << 12
"""Values of a digit of the radix sort."""

_CALLS = ("uint64[2]", "float32[2]", "uint32[2]", "int64[2]")

weighted_sums = CompiledFunction("weighted_sums", *_CALLS, "uint8[1]", "uint32[1]")
sums = CompiledFunction("sums", *_CALLS, "int64", "float32[2]", "float64[2]", "float64[2]")
exact_sums = CompiledFunction("exact_sums", *_CALLS, "float64[1]", "float32[2]", "uint64[1]", "float64[1]")
sizes = CompiledFunction("sizes", *_CALLS, "float32[1]")
histogram = CompiledFunction("histogram", *_CALLS, "int64[1]", "float32[1]")
by_draw = CompiledFunction("by_draw", *_CALLS, "uint32[1]", "float64", "float32[1]", "float64[1]")
collect = CompiledFunction(
    "collect", *_CALLS, "uint32", "float32[1]", "uint32[1]", "uint32[1]", "int64[1]", "int64[1]"
)
_SORT = ("uint64[2]", "uint32[2]")
ranks = CompiledFunction("ranks", *_CALLS, "int64", "float32[1]", *_SORT, "uint16[1]")
long_ranks = CompiledFunction("ranks", *_CALLS, "int64", "float32[1]", *_SORT, "int32[1]")
_order = CompiledFunction("order", "uint32[1]", *_SORT, "uint32[1]")


def sort_memory(n: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return memory to sort n numbers."""
    return np.empty((2, n), np.uint64), np.empty((3, DIGITS), np.uint32)


def order(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the places of uint32 numbers in ascending order; of equal ones the first is first."""
    places = np.empty(numbers.size, np.uint32)
    _order("", numbers, *sort_memory(numbers.size), places)
    return places
