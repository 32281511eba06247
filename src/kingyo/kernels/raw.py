"""Tensors without torch: memory that holds numbers, which is all that a compiled pass asks of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.late import Tensor, torch

_LETTERS = {"bfloat16": "b", "float16": "h", "float32": "f"}
_SIZES = {"b": 2, "h": 2, "f": 4}
_known: dict[object, str | None] = {}


def letter_of(dtype: object) -> str | None:
    """The letter by which compiled passes know a dtype, torch's or the name of one; None of others."""
    try:
        return _known[dtype]
    except KeyError:
        return _known.setdefault(dtype, _LETTERS.get(str(dtype).removeprefix("torch.")))


class RawTensor:
    """Numbers in one piece of memory.

    It goes where a Tensor goes, as long as nobody computes with it: it has what a description of a pass asks
    of tensors, under torch's names. ``as_torch`` makes it one, of the same memory.

    Args:
        memory: uint8, which may be written.
        dtype: torch's name, one of those that compiled passes know.
        shape: of the tensor.
    """

    __slots__ = ("_address", "_size", "dtype", "memory", "shape")

    is_cpu = True

    def __init__(self, memory: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> None:
        self.memory = memory
        self.dtype = dtype
        self.shape = shape
        self._address = memory.ctypes.data
        self._size = _SIZES[_LETTERS[dtype]]

    @classmethod
    def empty(cls, n: int, dtype: str) -> RawTensor:
        """A vector of n numbers in new memory."""
        return cls(np.empty(n * _SIZES[_LETTERS[dtype]], dtype=np.uint8), dtype, (n,))

    def __getitem__(self, part: slice) -> RawTensor:
        """A part of a vector."""
        start, stop, _ = part.indices(self.shape[0])
        memory = self.memory[start * self._size : stop * self._size]
        return RawTensor(memory, self.dtype, (max(0, stop - start),))

    @property
    def nbytes(self) -> int:
        """How many bytes its numbers take."""
        return self.memory.nbytes

    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def element_size(self) -> int:
        """How many bytes a number takes."""
        return self._size

    def data_ptr(self) -> int:
        """The address of its first number."""
        return self._address

    def contiguous(self) -> RawTensor:
        """Itself."""
        return self

    def is_contiguous(self) -> bool:
        """Always."""
        return True

    def as_tensor(self) -> Tensor:
        """Itself, for where a Tensor is asked for and nobody computes with it."""
        return cast("Tensor", self)


def empty_vector(n: int, dtype: str) -> Tensor:
    """New memory for n numbers of a dtype, raw where compiled passes know it; they can be handed on."""
    if letter_of(dtype) is None:
        return torch.empty(n, dtype=getattr(torch, dtype))
    return RawTensor.empty(n, dtype).as_tensor()


def bytes_of(tensor: Tensor | RawTensor) -> NDArray[np.uint8]:
    """The bytes of a contiguous tensor on the processor, of the same memory."""
    if isinstance(tensor, RawTensor):
        return tensor.memory
    return tensor.view(-1).view(torch.uint8).numpy()


def as_torch(tensor: Tensor | RawTensor) -> Tensor:
    """A tensor that torch computes with, of the same memory."""
    if not isinstance(tensor, RawTensor):
        return tensor
    from_numpy = cast("Callable[[NDArray[np.uint8]], Tensor]", torch.from_numpy)  # pyright: ignore[reportUnknownMemberType]
    return from_numpy(tensor.memory).view(getattr(torch, tensor.dtype)).view(tensor.shape)
