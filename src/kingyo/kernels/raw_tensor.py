"""Tensors without torch: memory, dtype and shape, which are all that a compiled loop reads.

A merge of small models takes less time than the import of torch, so it reads tensors as ``RawTensor``.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch

_LETTERS = {"bfloat16": "b", "float16": "h", "float32": "f"}
_SIZES = {"b": 2, "h": 2, "f": 4}
_letters: dict[object, str | None] = {}


def letter_of(dtype: object) -> str | None:
    """Return the letter of a dtype in compiled loops, given torch's dtype or its name; None for others."""
    try:
        return _letters[dtype]
    except KeyError:
        return _letters.setdefault(dtype, _LETTERS.get(str(dtype).removeprefix("torch.")))


class RawTensor:
    """A contiguous tensor in main memory, with the names that torch uses.

    Args:
        memory: uint8, contiguous, writable.
        dtype: torch's name: bfloat16, float16 or float32.
        shape: shape of the tensor.

    Raises:
        ValueError: the memory has another size, or is not contiguous.
    """

    __slots__ = ("_address", "_size", "dtype", "memory", "shape")

    is_cpu = True

    def __init__(self, memory: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> None:
        self._size = _SIZES[_LETTERS[dtype]]
        if memory.nbytes != math.prod(shape) * self._size or not memory.flags.c_contiguous:
            raise ValueError(f"{memory.nbytes} bytes for {dtype} of shape {shape}")
        self.memory = memory
        self.dtype = dtype
        self.shape = shape
        self._address = memory.ctypes.data

    def __getitem__(self, part: slice) -> RawTensor:
        """Return a slice of a vector; it shares the memory."""
        start, stop, _ = part.indices(self.numel())
        n = max(0, stop - start)
        return RawTensor(self.memory[start * self._size : (start + n) * self._size], self.dtype, (n,))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.memory.nbytes

    def numel(self) -> int:
        """Return the number of entries."""
        return math.prod(self.shape)

    def element_size(self) -> int:
        """Return the number of bytes per entry."""
        return self._size

    def data_ptr(self) -> int:
        """Return the address of the first entry."""
        return self._address

    def contiguous(self) -> RawTensor:
        """Return the tensor, which is contiguous."""
        return self

    def is_contiguous(self) -> bool:
        """Return True."""
        return True


AnyTensor: TypeAlias = "Tensor | RawTensor"


def empty_vector(n: int, dtype: str) -> AnyTensor:
    """Return an uninitialised vector: a ``RawTensor`` if compiled loops support the dtype."""
    letter = letter_of(dtype)
    if letter is None:
        return torch.empty(n, dtype=getattr(torch, dtype))
    return RawTensor(np.empty(n * _SIZES[letter], dtype=np.uint8), dtype, (n,))


def bytes_of(tensor: AnyTensor) -> NDArray[np.uint8]:
    """Return the bytes of a contiguous tensor in main memory, without a copy."""
    if isinstance(tensor, RawTensor):
        return tensor.memory
    return tensor.view(-1).view(torch.uint8).numpy()


def as_torch(tensor: AnyTensor) -> Tensor:
    """Return a tensor of torch with the same memory."""
    if not isinstance(tensor, RawTensor):
        return tensor
    from_numpy = cast("Callable[[NDArray[np.uint8]], Tensor]", torch.from_numpy)  # pyright: ignore[reportUnknownMemberType]
    return from_numpy(tensor.memory).view(getattr(torch, tensor.dtype)).view(tensor.shape)


def _read_bfloat16(address: int) -> float:
    return struct.unpack("=f", struct.pack("=I", ctypes.c_uint16.from_address(address).value << 16))[0]


def _read_float16(address: int) -> float:
    return struct.unpack("=e", struct.pack("=H", ctypes.c_uint16.from_address(address).value))[0]


def _read_float32(address: int) -> float:
    return ctypes.c_float.from_address(address).value


_READERS: dict[str | None, Callable[[int], float]] = {
    "b": _read_bfloat16,
    "h": _read_float16,
    "f": _read_float32,
}


def entry(tensor: AnyTensor, index: int) -> float:
    """Return one entry of the flattened tensor, faster than torch does.

    Raises:
        IndexError: the index is negative or too large.
    """
    if not 0 <= index < tensor.numel():
        raise IndexError(index)
    read = _READERS.get(letter_of(tensor.dtype))
    if read is None or not tensor.is_cpu or not tensor.is_contiguous():
        return float(as_torch(tensor).reshape(-1)[index].item())
    return read(tensor.data_ptr() + tensor.element_size() * index)


def difference(source: AnyTensor, base: AnyTensor, index: int) -> float:
    """Return the difference of one entry of two tensors, rounded to float32."""
    # Rounding to float64 first changes nothing: it is more than twice as wide.
    return ctypes.c_float(entry(source, index) - entry(base, index)).value
