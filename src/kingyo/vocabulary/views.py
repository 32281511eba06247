"""Read models as if they all had the output's vocabulary."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from kingyo.io.lazy_torch import Tensor
from kingyo.vocabulary.build import Vocabulary


class Reader(Protocol):
    """A source of tensors."""

    def shape(self, model: str, tensor: str) -> tuple[int, ...]:
        """Return the shape of a model's tensor."""
        ...

    def read(self, model: str, tensor: str) -> Tensor:
        """Return a model's tensor as stored; callers never write to it."""
        ...


class AlignedReads:
    """A reader whose vocabulary tensors have the output's rows.

    Args:
        vocabulary: vocabulary of the output.
        reader: reader of the stored models, including those that only the tokenizer's choice names.
        tensors: tensors with the vocabulary as first axis: embedding, head, the head's bias.
        keep_bytes: size of the cache of aligned tensors.
    """

    def __init__(
        self, vocabulary: Vocabulary, reader: Reader, tensors: Collection[str], keep_bytes: int = 0
    ) -> None:
        self._vocabulary = vocabulary
        self._reader = reader
        self._tensors = frozenset(tensors)
        self._room = keep_bytes
        self._kept: dict[tuple[str, str], Tensor] = {}

    def shape(self, model: str, tensor: str) -> tuple[int, ...]:
        """Return the shape of the tensor that ``read`` returns."""
        shape = self._reader.shape(model, tensor)
        return (self._vocabulary.n_rows, *shape[1:]) if tensor in self._tensors else shape

    def read(self, model: str, tensor: str) -> Tensor:
        """Return a model's tensor; vocabulary tensors are in the order of the output's vocabulary.

        Raises:
            KingyoError: see ``RowMap.remap``.
        """
        if tensor not in self._tensors:
            return self._reader.read(model, tensor)
        kept = self._kept.get((model, tensor))
        if kept is not None:
            return kept
        stored = self._reader.read(model, tensor)
        aligned = self._vocabulary.map.remap(
            model, tensor, stored, lambda other: self._reader.read(other, tensor)
        )
        size = aligned.numel() * aligned.element_size()
        if aligned is not stored and size <= self._room:
            self._room -= size
            self._kept[model, tensor] = aligned
        return aligned
