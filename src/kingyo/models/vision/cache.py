"""Keep what is the same for all candidates: in memory and, beyond a limit, in a temporary file."""

from __future__ import annotations

import shutil
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Generic, TypeVar, cast
from weakref import finalize

from kingyo.core.io.lazy_torch import torch
from kingyo.core.io.units import size_text

V = TypeVar("V")
FILE_BYTES = 32 << 30
"""Limit in bytes of the file of a cache."""


def tensor_bytes(value: Any) -> int:
    """Return the bytes of the tensors in nested mappings and sequences."""
    if hasattr(value, "nbytes"):
        return value.nbytes
    inner = cast("Mapping[str, Any]", value).values() if isinstance(value, Mapping) else value
    return sum(map(tensor_bytes, inner))


class Cache(Generic[V]):
    """Values by key, up to a total size in memory.

    Without a folder, the least recently used values are dropped. With one, values that do not fit go to a
    file in it, of at most half of the disk space that is free now; those that do not fit there are not kept.
    The file has no name, so that the system removes it even if the process is killed.

    Args:
        max_bytes: total size in memory.
        size_of: returns the size of a value in bytes.
        folder: for the file of values, which must be tensors, or nested mappings and sequences of tensors.
        device: of tensors from the file.
    """

    def __init__(
        self,
        max_bytes: int,
        size_of: Callable[[V], int] = tensor_bytes,
        folder: Path | None = None,
        device: Any = "cpu",
    ) -> None:
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._file = None if folder is None else _File(folder, device)
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self.n_bytes = 0
        """Bytes in memory."""

    @property
    def n_file_bytes(self) -> int:
        return 0 if self._file is None else self._file.n_bytes

    def clear(self) -> None:
        """Drop all values. Those in use stay valid."""
        self._values.clear()
        self.n_bytes = 0
        if self._file is not None:
            self._file.clear()

    def get(self, key: Hashable) -> V | None:
        """Return the value of a key, or None."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        return None if self._file is None else self._file.read(key)

    def put(self, key: Hashable, value: V) -> V:
        """Keep a value if there is room, and return it."""
        size = self._size_of(value)
        if key in self._values:
            self.n_bytes -= self._size_of(self._values.pop(key))
        if self._file is not None and self.n_bytes + size > self._max_bytes:
            self._file.write(key, value, self.n_bytes)
            return value
        self._values[key] = value
        self.n_bytes += size
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._size_of(self._values.popitem(last=False)[1])
        return value


class _File:
    def __init__(self, folder: Path, device: Any) -> None:
        self._folder = folder
        self._device = device
        self._file: Any = None
        self._most = 0
        self._places: dict[Hashable, tuple[int, int]] = {}
        self._is_full = self._has_warned = False
        self.n_bytes = 0

    def clear(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
        self._places.clear()
        self.n_bytes, self._is_full = 0, False

    def read(self, key: Hashable) -> Any:
        if key not in self._places:
            return None
        start, size = self._places[key]
        self._file.seek(start)
        content = BytesIO(self._file.read(size))
        return torch.load(content, map_location=self._device, weights_only=True)

    def write(self, key: Hashable, value: Any, n_memory: int) -> None:
        if self._is_full or key in self._places:
            return
        content = BytesIO()
        torch.save(value, content)
        size = len(content.getbuffer())
        try:
            if self._file is None:
                self._most = min(FILE_BYTES, shutil.disk_usage(self._folder).free // 2)
                self._file = TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
                finalize(self, self._file.close)
            if self.n_bytes + size > self._most:
                raise OSError(f"their file may have {size_text(self._most)}")
            self._file.seek(self.n_bytes)
            if self._file.write(content.getbuffer()) < size:
                raise OSError("the disk is full")
        except OSError as error:
            self._is_full = True
            if self._file is not None:
                self._file.truncate(self.n_bytes)
            self._warn(error, n_memory)
        else:
            self._places[key] = self.n_bytes, size
            self.n_bytes += size

    def _warn(self, error: Exception, n_memory: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Features do not fit: {size_text(n_memory)} are kept in memory and "
                f"{size_text(self.n_bytes)} in a file in {self._folder} ({error}). Further ones are computed "
                "again for every candidate.",
                stacklevel=2,
            )
