"""Keep features of images and prompts: in memory first, then in a file of the run folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from kingyo.io.units import size_text
from kingyo.models.feature_file import FeatureFile, FileFullError, StoredTensor, free_bytes

KEPT_BYTES = 2 << 30
"""Limit in bytes of the features in memory."""

Features = Mapping[str, Any]
"""Fields of the output of an encoder -> a tensor, or sequences of tensors."""
Key = tuple[str, ...]
"""Identifies an input of the encoder, such as by the hashes of the images of a prompt."""


class FeatureStore:
    """Features of images or prompts, by key. Features that fit neither memory nor file are not kept.

    Args:
        folder: the folder of the file, which takes at most half of the disk space that is free now; None
            keeps features in memory only.
        device: where features from the file are needed.
    """

    def __init__(self, folder: Path | None, device: torch.device) -> None:
        self._folder = folder
        self._device = device
        self._least_free = 0
        if folder is not None:
            with suppress(OSError):  # reported when the file is needed
                self._least_free = free_bytes(folder) // 2
        self._has_warned = False
        self.clear()

    def clear(self) -> None:
        """Drop all features. The file goes with the last tensor that is still in use."""
        self._memory: dict[Key, Features] = {}
        self._places: dict[Key, Features] = {}
        self._file: FeatureFile | None = None
        self._is_full = self._folder is None
        self.n_bytes = 0
        """Bytes of the features in memory."""

    @property
    def n_file_bytes(self) -> int:
        """Bytes of the features in the file."""
        return 0 if self._file is None else self._file.n_bytes

    def get(self, key: Key) -> Features | None:
        """Return features, or None if they are not kept."""
        if key in self._memory or key not in self._places or self._file is None:
            return self._memory.get(key)
        file, device = self._file, self._device
        try:
            return _mapped(self._places[key], lambda place: file.read(place).to(device))
        except OSError:  # the system refuses further mappings
            return None

    def put(self, key: Key, features: Features) -> None:
        """Keep features if there is room."""
        n_bytes = sum(tensor.nbytes for tensor in _leaves(features))
        if self.n_bytes + n_bytes <= KEPT_BYTES:
            self.n_bytes += n_bytes
            self._memory[key] = features
        elif not self._is_full and key not in self._places:
            self._put_in_file(key, features)

    def _put_in_file(self, key: Key, features: Features) -> None:
        assert self._folder is not None, "else the store is full"
        try:
            self._file = self._file or FeatureFile(self._folder, self._least_free)
            places = iter(self._file.append(_leaves(features)))
        except FileFullError as error:
            self._is_full = True
            self._warn(error)
        else:
            self._places[key] = _mapped(features, lambda _: next(places))

    def _warn(self, error: FileFullError) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Features do not fit: {size_text(self.n_bytes)} are kept in memory and "
                f"{size_text(self.n_file_bytes)} in a file in {self._folder} ({error}). Further ones are "
                "computed again for every candidate.",
                stacklevel=2,
            )


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested features with a function applied to each leaf."""
    if isinstance(value, Mapping):
        fields = cast(Features, value)
        return {name: _mapped(each, change) for name, each in fields.items()}
    if isinstance(value, Tensor | StoredTensor):
        return change(value)
    return [_mapped(each, change) for each in value]


def _leaves(value: Any) -> list[Tensor]:
    leaves: list[Tensor] = []
    _mapped(value, leaves.append)
    return leaves
