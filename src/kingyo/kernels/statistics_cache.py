"""A cache of tensor statistics: for the next candidate, and on disk for other processes.

In memory the least recently used are dropped first. The file may be deleted at any time.
"""

from __future__ import annotations

import copy
import os
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Statistic = (
    NDArray[np.float64]
    | NDArray[np.float32]
    | NDArray[np.int64]
    | NDArray[np.int32]
    | NDArray[np.uint32]
    | NDArray[np.uint16]
)

PASSING = "passing "
"""Prefix of names that are not stored on disk: few candidates share them, or they are large."""
_MAX_BYTES_ON_DISK = 1 << 20  # bytes; larger ones are computed again faster than they are read
_COMMIT_EVERY = 64
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files with a container's memory limit on Linux; the first may contain "max"."""


class TensorStats:
    """Statistics by name. Old ones are dropped; several threads may use it.

    Args:
        max_bytes: maximum size in memory; None is a quarter of the machine's.
        file: where small statistics are stored for other processes; None stores nothing on disk.
    """

    def __init__(self, max_bytes: int | None = None, file: Path | None = None) -> None:
        max_bytes = memory_size() // 4 if max_bytes is None else max_bytes
        self._store = _Store(max_bytes, None if file is None else _Disk(file))
        self._prefix = ""

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return self._store.n_bytes

    def within(self, space: str) -> TensorStats:
        """Return a view of the same cache whose names have a prefix, for models as one merge sees them."""
        view = copy.copy(self)
        view._prefix = f"{self._prefix}{space}\n"
        return view

    def get(self, name: str) -> Statistic | None:
        """Return a statistic, or None."""
        return self._store.get(self._prefix + name)

    def put(self, name: str, statistic: Statistic) -> None:
        """Store a statistic while there is room."""
        self._store.put(self._prefix + name, statistic, on_disk=not name.startswith(PASSING))

    def has_room(self, n_bytes: int) -> bool:
        """Return whether this many bytes fit; a quarter is reserved for small statistics."""
        return self._store.has_room(n_bytes)

    def flush(self) -> None:
        """Commit what was stored on disk."""
        self._store.flush()


def memory_size(limits: Sequence[Path] = _LIMITS) -> int:
    """Return the bytes of memory of the machine, or of this process's container.

    Args:
        limits: files that may contain a lower limit.

    Returns:
        4 GiB if the system does not tell.
    """
    try:
        n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        n_bytes = 1 << 32
    for file in limits:
        try:
            n_bytes = min(n_bytes, int(file.read_text()))
        except (OSError, ValueError):  # there is no limit
            continue
    return n_bytes


class _Store:
    """Statistics of all views, by full name."""

    def __init__(self, max_bytes: int, disk: _Disk | None) -> None:
        self._max_bytes = max_bytes
        self._statistics: OrderedDict[str, Statistic] = OrderedDict()
        self._lock = Lock()
        self._disk = disk
        self.n_bytes = 0

    def get(self, name: str) -> Statistic | None:
        with self._lock:
            if name in self._statistics:
                self._statistics.move_to_end(name)
                return self._statistics[name]
            statistic = None if self._disk is None else self._disk.read(name)
            if statistic is not None:
                self._keep(name, statistic)
            return statistic

    def put(self, name: str, statistic: Statistic, *, on_disk: bool) -> None:
        with self._lock:
            self._keep(name, statistic)
            if self._disk is not None and on_disk and statistic.nbytes <= _MAX_BYTES_ON_DISK:
                self._disk.write(name, statistic)

    def has_room(self, n_bytes: int) -> bool:
        with self._lock:
            return self.n_bytes + n_bytes <= 0.75 * self._max_bytes

    def flush(self) -> None:
        with self._lock:
            if self._disk is not None:
                self._disk.commit()

    def _keep(self, name: str, statistic: Statistic) -> None:
        if statistic.nbytes > self._max_bytes:
            return
        old = self._statistics.pop(name, None)
        self._statistics[name] = statistic
        self.n_bytes += statistic.nbytes - (old.nbytes if old is not None else 0)
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._statistics.popitem(last=False)[1].nbytes


_READ = "SELECT dtype, shape, data, checksum FROM facts WHERE name = ?"


def _checksum(name: str, dtype: str, shape: str, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(ascii((name, dtype, shape)).encode()))


_BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""Errors from a damaged file; SQLite raises the latter when it quotes bytes that are not text."""


class _Disk:
    """Statistics in a SQLite file; after any error with it, nothing more is read or stored."""

    def __init__(self, file: Path) -> None:
        self._uncommitted = 0
        self._db: sqlite3.Connection | None = None
        try:
            self._db = sqlite3.connect(file, check_same_thread=False, timeout=1.0)
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute("DROP TABLE IF EXISTS fact")  # of an older version, without checksums
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS facts"
                " (name TEXT PRIMARY KEY, dtype TEXT, shape TEXT, data BLOB, checksum INTEGER)"
            )
            self._db.commit()
        except _BROKEN:
            self._close()

    def read(self, name: str) -> Statistic | None:
        if self._db is None:
            return None
        try:
            row = self._db.execute(_READ, (name,)).fetchone()
        except _BROKEN:
            self._close()
            return None
        if row is None:
            return None
        dtype, shape, data, checksum = row
        try:
            if _checksum(name, dtype, shape, data) != checksum:
                return None
            return np.frombuffer(data, dtype=dtype).reshape([int(length) for length in shape.split()])
        except (AttributeError, TypeError, ValueError):  # the row is damaged
            return None

    def write(self, name: str, statistic: Statistic) -> None:
        if self._db is None:
            return
        shape = " ".join(str(length) for length in statistic.shape)
        row = (name, statistic.dtype.str, shape, np.ascontiguousarray(statistic).tobytes())
        try:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", (*row, _checksum(*row)))
            self._uncommitted += 1
            if self._uncommitted >= _COMMIT_EVERY:
                self.commit()
        except _BROKEN:
            self._close()

    def commit(self) -> None:
        if self._db is None or not self._uncommitted:
            return
        try:
            self._db.commit()
            self._uncommitted = 0
        except _BROKEN:
            self._close()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
