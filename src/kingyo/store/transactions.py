"""The connection of an opened run database, its transactions, and the lock file, which counts them."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import sqlite3
import time
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kingyo.errors import KingyoError
from kingyo.store.schema import count_write

LOCK = "run.lock"
WAIT_SECONDS = 0.5
"""Longer than ``is_locked`` of other processes holds its shared lock."""


def acquire(folder: Path) -> IO[str]:
    """Lock a run folder. The kernel releases the lock when the process ends, however it ends."""
    try:
        lock = os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except OSError as error:
        raise KingyoError(
            str(folder),
            expected="a folder that can be written",
            received=str(error),
            remedy="Make the folder writable, or copy the run; `kingyo show` works without.",
        ) from error
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            lock.close()
            raise KingyoError(
                str(folder),
                expected="a run that no other process uses",
                received="a run that another process has locked",
                remedy="Wait until that process ends, or stop it; `kingyo show` works meanwhile.",
            ) from error
        return lock


def is_locked(folder: Path) -> bool:
    """Return whether a process has locked the run. The folder may be read-only."""
    try:
        lock = (folder / LOCK).open()
    except FileNotFoundError:  # a copy of the database alone
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def note_writes(lock: IO[str], n: int) -> None:
    """Write the number of transactions into the lock file, just before the last one is committed.

    A database with fewer transactions has lost some, which SQLite does not report. If the number cannot be
    written, losses may stay undetected.
    """
    text = str(n)
    with contextlib.suppress(OSError):
        os.pwrite(lock.fileno(), f"{text:>20} {zlib.crc32(text.encode()):08x}\n".encode(), 0)


def noted_writes(folder: Path) -> int:
    """Return the number that ``note_writes`` wrote, or 0; the last transaction may not be committed yet."""
    try:
        text, checksum = (folder / LOCK).read_bytes().split()
        return int(text) if int(checksum, 16) == zlib.crc32(text) else 0
    except (OSError, ValueError):  # missing or damaged
        return 0


CALLBACK_RAISED = "user-defined function raised exception"
"""SQLite's message in place of the exception of a Python function."""
SYNC_SECONDS = 1.0
"""How much of a run a power loss may cost, in seconds."""


class OpenDatabase:
    """An open run database."""

    def __init__(self, connection: sqlite3.Connection, lock: IO[str] | None, folder: Path) -> None:
        self.folder = folder
        self._db = connection
        self._lock = lock
        self._session: int | None = None
        self._synced = -math.inf

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Run one transaction; sync the disk if the last sync was a second ago.

        A killed process loses nothing: the system has all committed data. Syncing each time would take longer
        than scoring a small model.
        """
        is_due = time.monotonic() - self._synced >= SYNC_SECONDS
        self._db.execute(f"PRAGMA synchronous = {'FULL' if is_due else 'NORMAL'}")
        try:
            with self._db:
                yield
                n_writes = count_write(self._db)
                if self._lock is not None:
                    note_writes(self._lock, n_writes)
        except sqlite3.OperationalError as error:
            if CALLBACK_RAISED in str(error):  # Ctrl-C within row_hash, which raises nothing else
                raise KeyboardInterrupt from error
            raise
        if is_due:
            self._synced = time.monotonic()
