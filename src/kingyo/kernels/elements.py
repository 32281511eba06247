"""One entry of a tensor at a time: to call torch for it takes longer than to read it."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.raw import letter_of


def _bfloat16(address: int) -> float:
    return struct.unpack("=f", struct.pack("=I", ctypes.c_uint16.from_address(address).value << 16))[0]


def _float16(address: int) -> float:
    return struct.unpack("=e", struct.pack("=H", ctypes.c_uint16.from_address(address).value))[0]


def _float32(address: int) -> float:
    return ctypes.c_float.from_address(address).value


_READERS: dict[str | None, Callable[[int], float]] = {"b": _bfloat16, "h": _float16, "f": _float32}


def difference(source: Tensor, base: Tensor, place: int) -> float:
    """The difference of two tensors' entries at a place, rounded to float32."""
    # float64 first: it is wide enough for the second rounding to change nothing
    return ctypes.c_float(entry(source, place) - entry(base, place)).value


def entry(tensor: Tensor, place: int) -> float:
    """The entry of a flattened tensor at a place, from 0 to its number of entries less one."""
    if not 0 <= place < tensor.numel():
        raise IndexError(place)
    read = _READERS.get(letter_of(tensor.dtype))
    if read is None or not tensor.is_cpu or not tensor.is_contiguous():
        return float(tensor.reshape(-1)[place].item())
    return read(tensor.data_ptr() + tensor.element_size() * place)
