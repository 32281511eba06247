"""Measures of tensors, kept for the next candidate, and for the next process beside the run.

In memory the least recently used go first. On disk is a cache: it may be deleted at any time.
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
"""Names that begin so are not kept on disk: few candidates share them, or they are large."""
_LARGEST_ON_DISK = 1 << 20  # bytes; what is larger is measured again sooner than it is read
_COMMIT_EVERY = 64


class TensorStats:
    """Measures by name. It forgets; several threads may use it.

    Args:
        max_bytes: how much it may keep in memory; a quarter of all when None.
        file: where small facts are kept for other processes; None keeps nothing on disk.
    """

    def __init__(self, max_bytes: int | None = None, file: Path | None = None) -> None:
        max_bytes = memory_size() // 4 if max_bytes is None else max_bytes
        self._room = _Room(max_bytes, None if file is None else _Disk(file))
        self._space = ""

    @property
    def n_bytes(self) -> int:
        """How much is kept in memory."""
        return self._room.n_bytes

    def within(self, space: str) -> TensorStats:
        """The same room, for things with the names of others: models as one merge sees them."""
        found = copy.copy(self)
        found._space = f"{self._space}{space}\n"
        return found

    def get(self, name: str) -> Statistic | None:
        """What is known by a name."""
        return self._room.get(name, self._space)

    def put(self, name: str, fact: Statistic) -> None:
        """Keep it, as long as there is room."""
        self._room.put(name, self._space, fact)

    def has_room(self, n_bytes: int) -> bool:
        """Whether so much more can be kept; a quarter is left to what is small."""
        return self._room.has(n_bytes)

    def flush(self) -> None:
        """Make what was written to disk last."""
        self._room.flush()


_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much a container may take; in the first "max" is all."""


def memory_size(limits: Sequence[Path] = _LIMITS) -> int:
    """Bytes of memory that this process may use in all: the machine's, or its container's.

    Args:
        limits: files that may hold a lower one.

    Returns:
        4 GiB where the system does not say.
    """
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        found = 1 << 32
    for file in limits:
        try:
            found = min(found, int(file.read_text()))
        except (OSError, ValueError):  # there is none
            continue
    return found


class _Room:
    """What all spaces share."""

    def __init__(self, max_bytes: int, disk: _Disk | None) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Statistic] = OrderedDict()
        self._lock = Lock()
        self._disk = disk
        self.n_bytes = 0

    def get(self, name: str, space: str) -> Statistic | None:
        full = space + name
        with self._lock:
            if full in self._kept:
                self._kept.move_to_end(full)
                return self._kept[full]
            found = None if self._disk is None else self._disk.read(full)
            if found is not None:
                self._keep(full, found)
            return found

    def put(self, name: str, space: str, fact: Statistic) -> None:
        full = space + name
        with self._lock:
            self._keep(full, fact)
            if self._disk is not None and fact.nbytes <= _LARGEST_ON_DISK and not name.startswith(PASSING):
                self._disk.write(full, fact)

    def has(self, n_bytes: int) -> bool:
        with self._lock:
            return self.n_bytes + n_bytes <= 0.75 * self._max_bytes

    def flush(self) -> None:
        with self._lock:
            if self._disk is not None:
                self._disk.commit()

    def _keep(self, name: str, fact: Statistic) -> None:
        if fact.nbytes > self._max_bytes:
            return
        old = self._kept.pop(name, None)
        self._kept[name] = fact
        self.n_bytes += fact.nbytes - (old.nbytes if old is not None else 0)
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._kept.popitem(last=False)[1].nbytes


_READ = "SELECT dtype, shape, data, checksum FROM facts WHERE name = ?"


def _checksum(name: str, dtype: str, shape: str, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(ascii((name, dtype, shape)).encode()))


_BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; the latter where SQLite quotes what is no text."""


class _Disk:
    """Facts in a SQLite file. Whatever is wrong with it, it is only a cache: then nothing is kept."""

    def __init__(self, file: Path) -> None:
        self._uncommitted = 0
        self._db: sqlite3.Connection | None = None
        try:
            self._db = sqlite3.connect(file, check_same_thread=False, timeout=1.0)
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute("DROP TABLE IF EXISTS fact")  # of an older kingyo, without checksums
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS facts"
                " (name TEXT PRIMARY KEY, dtype TEXT, shape TEXT, data BLOB, checksum INTEGER)"
            )
            self._db.commit()
        except _BROKEN:
            self._give_up()

    def read(self, name: str) -> Statistic | None:
        if self._db is None:
            return None
        try:
            row = self._db.execute(_READ, (name,)).fetchone()
        except _BROKEN:
            self._give_up()
            return None
        if row is None:
            return None
        dtype, shape, data, checksum = row
        try:
            if _checksum(name, dtype, shape, data) != checksum:
                return None
            return np.frombuffer(data, dtype=dtype).reshape([int(length) for length in shape.split()])
        except (AttributeError, TypeError, ValueError):  # not what was written
            return None

    def write(self, name: str, fact: Statistic) -> None:
        if self._db is None:
            return
        shape = " ".join(str(length) for length in fact.shape)
        row = (name, fact.dtype.str, shape, np.ascontiguousarray(fact).tobytes())
        try:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", (*row, _checksum(*row)))
            self._uncommitted += 1
            if self._uncommitted >= _COMMIT_EVERY:
                self.commit()
        except _BROKEN:
            self._give_up()

    def commit(self) -> None:
        if self._db is None or not self._uncommitted:
            return
        try:
            self._db.commit()
            self._uncommitted = 0
        except _BROKEN:
            self._give_up()

    def _give_up(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
