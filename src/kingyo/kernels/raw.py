"""Tensors without torch: memory that holds numbers, which is all that a compiled pass asks of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch

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
    """Numbers in one piece of memory, in place of a Tensor.

    It has what a description of a pass asks of tensors, under torch's names. Whatever else is asked of it, by
    attributes, operators or functions of torch, it leaves to a Tensor of the same memory: then torch is
    imported. ``isinstance`` does not take it for one, so it goes only to methods that hand tensors on.

    Args:
        memory: uint8, contiguous; it may be written.
        dtype: torch's name, one of those that compiled passes know.
        shape: of the tensor.

    Raises:
        ValueError: the memory has another size, or holes.
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

    def __getitem__(self, part: slice) -> RawTensor | Tensor:
        """A part of a vector, of the same memory."""
        if len(self.shape) != 1 or part.step not in {None, 1}:
            return as_torch(self)[part]
        start, stop, _ = part.indices(self.shape[0])
        n = max(0, stop - start)
        return RawTensor(self.memory[start * self._size : (start + n) * self._size], self.dtype, (n,))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(as_torch(self), name)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., object],
        _types: Sequence[type],
        arguments: Sequence[object] = (),
        named: Mapping[str, object] | None = None,
    ) -> object:
        plain = {name: _in_torch(each) for name, each in (named or {}).items()}
        return function(*map(_in_torch, arguments), **plain)

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


def _by_torch(name: str) -> Callable[..., object]:
    """An operator, which Python looks for in the class alone."""

    def operate(tensor: RawTensor, *others: object) -> object:
        return getattr(as_torch(tensor), name)(*map(_in_torch, others))

    return operate


for _operator in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    for _name in (f"__{_operator}__", f"__r{_operator}__"):
        setattr(RawTensor, _name, _by_torch(_name))
for _name in ("__neg__", "__abs__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(RawTensor, _name, _by_torch(_name))


def raw_tensor(memory: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A ``RawTensor``, typed as what it stands for."""
    return cast("Tensor", RawTensor(memory, dtype, shape))


def empty_vector(n: int, dtype: str) -> Tensor:
    """New memory for n numbers of a dtype: raw where compiled passes know it."""
    letter = letter_of(dtype)
    if letter is None:
        return torch.empty(n, dtype=getattr(torch, dtype))
    return raw_tensor(np.empty(n * _SIZES[letter], dtype=np.uint8), dtype, (n,))


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


def _in_torch(argument: object) -> object:
    """An argument of a function of torch, which may be a list of tensors."""
    if isinstance(argument, RawTensor):
        return as_torch(argument)
    if isinstance(argument, list | tuple):
        parts = cast("Sequence[object]", argument)
        return [_in_torch(each) for each in parts]
    return argument
