"""Keep what is the same for all candidates: in memory and, beyond a limit, in safetensors files."""

from __future__ import annotations

import fcntl
import os
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Generic, TypeVar, cast
from weakref import finalize

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.units import size_text

V = TypeVar("V")
FILE_BYTES = 32 << 30
"""Limit in bytes of the files of a cache."""
_PREFIX = ".features-"


def tensor_bytes(value: Any) -> int:
    """Return the bytes of the tensors in nested mappings and sequences."""
    sizes: list[int] = []
    _mapped(value, lambda tensor: sizes.append(tensor.nbytes))
    return sum(sizes)


class Cache(Generic[V]):
    """Values by key, up to a total size in memory.

    Without a folder, the least recently used values are dropped. With one, values that do not fit go to files
    in it, of at most half of the disk space that is free now; those that do not fit there are not kept.

    Args:
        max_bytes: total size in memory.
        size_of: returns the size of a value in bytes.
        folder: for files of values, which must be tensors, or nested mappings and sequences of tensors.
        device: of tensors from files.
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
        self._device = device
        self._files = None if folder is None else _Files(folder)
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self.n_bytes = 0
        """Bytes in memory."""

    @property
    def n_file_bytes(self) -> int:
        return 0 if self._files is None else self._files.n_bytes

    def clear(self) -> None:
        """Drop all values. Those in use stay valid."""
        self._values.clear()
        self.n_bytes = 0
        if self._files is not None:
            self._files.clear()

    def get(self, key: Hashable) -> V | None:
        """Return the value of a key, or None."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        return None if self._files is None else self._files.read(key, self._device)

    def put(self, key: Hashable, value: V) -> V:
        """Keep a value if there is room, and return it."""
        size = self._size_of(value)
        if key in self._values:
            self.n_bytes -= self._size_of(self._values.pop(key))
        if self._files is not None and self.n_bytes + size > self._max_bytes:
            self._files.write(key, value, self.n_bytes)
            return value
        self._values[key] = value
        self.n_bytes += size
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._size_of(self._values.popitem(last=False)[1])
        return value


class _Files:
    """A file per value, in a folder that is removed with the cache, or by the next one if a process died."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._least_free = 0
        self._places: dict[Hashable, tuple[Path, Any]] = {}
        self._folder: Path | None = None
        self._is_full = self._has_warned = False
        self._n = self.n_bytes = 0
        with suppress(OSError):  # reported when a file is needed
            self._least_free = shutil.disk_usage(parent).free // 2
            for folder in parent.glob(f"{_PREFIX}*"):
                _remove_if_left(folder)

    def clear(self) -> None:
        for file, _ in self._places.values():
            file.unlink(missing_ok=True)
        self._places.clear()
        self.n_bytes, self._is_full = 0, False

    def read(self, key: Hashable, device: Any) -> Any:
        if key not in self._places:
            return None
        from safetensors import safe_open

        file, value = self._places[key]
        with cast("Any", safe_open(file, "pt")) as stored:
            return _mapped(value, lambda name: stored.get_tensor(name).to(device))

    def write(self, key: Hashable, value: Any, n_memory: int) -> None:
        if self._is_full or key in self._places:
            return
        from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

        tensors: dict[str, Tensor] = {}

        def named(tensor: Tensor) -> str:
            name = str(len(tensors))
            tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            return name

        names = _mapped(value, named)
        file = None
        try:
            if self._folder is None:
                self._folder = _new_folder(self._parent, self)
            self._require_room(sum(tensor.nbytes for tensor in tensors.values()))
            file = self._folder / f"{self._n}.safetensors"
            save_file(tensors, file)
            self.n_bytes += file.stat().st_size
        except Exception as error:  # noqa: BLE001 (safetensors raises its own for a full disk)
            self._is_full = True
            if file is not None:
                file.unlink(missing_ok=True)
            self._warn(error, n_memory)
        else:
            self._places[key] = file, names
            self._n += 1

    def _require_room(self, size: int) -> None:
        if self.n_bytes + size > FILE_BYTES:
            raise OSError(f"files have at most {FILE_BYTES:,} bytes")
        if shutil.disk_usage(self._parent).free - size < self._least_free:
            raise OSError("half of the disk space that was free is used")

    def _warn(self, error: Exception, n_memory: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Features do not fit: {size_text(n_memory)} are kept in memory and "
                f"{size_text(self.n_bytes)} in files in {self._parent} ({error}). Further ones are computed "
                "again for every candidate.",
                stacklevel=2,
            )


def _new_folder(parent: Path, owner: object) -> Path:
    folder = Path(mkdtemp(prefix=_PREFIX, dir=parent))
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    finalize(owner, os.close, lock)
    return folder


def _remove_if_left(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except OSError:  # its process lives
        return
    finally:
        os.close(lock)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _mapped(each, change) for name, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, change) for each in cast("list[Any]", value)]
    return change(value)
