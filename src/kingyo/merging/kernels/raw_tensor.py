"""Tensors without torch: memory, dtype and shape, which are all that a compiled loop reads.

A merge of small models takes less time than the import of torch, so it reads tensors as ``RawTensor``.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch

_LETTERS = {"bfloat16": "b", "float16": "h", "float32": "f"}
N_BYTES = {"b": 2, "h": 2, "f": 4}
"""Bytes per entry."""
_letters: dict[object, str | None] = {}


def letter_of(dtype: object) -> str | None:
    """Return the letter of a dtype in compiled loops, given torch's dtype or its name; None for others."""
    try:
        return _letters[dtype]
    except KeyError:
        return _letters.setdefault(dtype, _LETTERS.get(str(dtype).removeprefix("torch.")))


class RawTensor:
    """A contiguous tensor of bfloat16, float16 or float32 in main memory, with the names that torch uses."""

    __slots__ = ("_address", "_size", "dtype", "memory", "shape")

    is_cpu = True

    def __init__(self, memory: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> None:
        self._size = N_BYTES[_LETTERS[dtype]]
        if memory.nbytes != math.prod(shape) * self._size or not memory.flags.c_contiguous:
            raise ValueError(f"{memory.nbytes} bytes for {dtype} of shape {shape}")
        self.memory = memory
        self.dtype = dtype
        self.shape = shape
        self._address = memory.ctypes.data

    def __getitem__(self, part: slice) -> RawTensor:
        start, stop, _ = part.indices(self.numel())
        n = max(0, stop - start)
        return RawTensor(self.memory[start * self._size : (start + n) * self._size], self.dtype, (n,))

    @property
    def nbytes(self) -> int:
        return self.memory.nbytes

    def numel(self) -> int:
        return math.prod(self.shape)

    def element_size(self) -> int:
        return self._size

    def data_ptr(self) -> int:
        return self._address

    def contiguous(self) -> RawTensor:
        return self


AnyTensor: TypeAlias = "Tensor | RawTensor"


def empty_vector(n: int, dtype: str) -> AnyTensor:
    """Return an uninitialised vector: a ``RawTensor`` if compiled loops support the dtype.

    It starts with a page: AMD's Zen 3 writes files from other addresses several times slower.
    """
    letter = letter_of(dtype)
    if letter is None:
        return torch.empty(n, dtype=getattr(torch, dtype))
    n_bytes = n * N_BYTES[letter]
    memory = np.empty(n_bytes + mmap.PAGESIZE, dtype=np.uint8)
    start = -memory.ctypes.data % mmap.PAGESIZE
    return RawTensor(memory[start : start + n_bytes], dtype, (n,))


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
