"""Reading models as if they all had the output's vocabulary, so that a merge need not know of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from kingyo.late import Tensor
from kingyo.vocabulary.build import Vocabulary


class Reader(Protocol):
    """Where tensors come from."""

    def shape(self, model: str, tensor: str) -> tuple[int, ...]:
        """The shape of a model's tensor."""
        ...

    def read(self, model: str, tensor: str) -> Tensor:
        """A model's tensor as stored; never written to."""
        ...


class AlignedReads:
    """A reader whose vocabulary tensors have the output's rows.

    Args:
        vocabulary: the output's.
        reader: of the models as stored; it must also know those that only the tokenizer's choice names.
        tensors: the tensors whose first axis is the vocabulary: embedding, head, the head's bias.
        keep_bytes: how many bytes of aligned tensors are kept for the next reading.
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
        """The shape that ``read`` returns; no weight is touched."""
        shape = self._reader.shape(model, tensor)
        return (self._vocabulary.n_rows, *shape[1:]) if tensor in self._tensors else shape

    def read(self, model: str, tensor: str) -> Tensor:
        """A model's tensor, in the order of the output's vocabulary where it has that axis.

        Raises:
            KingyoError: see ``Vocabulary.remap``.
        """
        if tensor not in self._tensors:
            return self._reader.read(model, tensor)
        kept = self._kept.get((model, tensor))
        if kept is not None:
            return kept
        stored = self._reader.read(model, tensor)
        aligned = self._vocabulary.remap(
            model, tensor, stored, lambda other: self._reader.read(other, tensor)
        )
        size = aligned.numel() * aligned.element_size()
        if aligned is not stored and size <= self._room:
            self._room -= size
            self._kept[model, tensor] = aligned
        return aligned
