"""The file beside the database of a run: who works on the run, and how many writes were made.

It knows nothing of SQLite.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from pathlib import Path
from typing import IO

from kingyo.errors import KingyoError

LOCK = "run.lock"
LOOKERS_LEAVE_WITHIN = 0.5  # seconds; `is_locked` holds a shared lock for an instant


def acquire(folder: Path) -> IO[str]:
    """Take the folder's lock. The kernel frees it when its process dies, however it dies."""
    try:
        lock = os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except OSError as error:
        raise KingyoError(
            str(folder),
            expected="a folder that can be written",
            received=str(error),
            remedy="Make the folder writable, or copy the run to one that is; `kingyo show` works as it is.",
        ) from error
    deadline = time.monotonic() + LOOKERS_LEAVE_WITHIN
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
                expected="a run that nobody works on",
                received="one that another process has locked",
                remedy="Wait for it to end, or stop it; `kingyo show` works meanwhile.",
            ) from error
        return lock


def is_locked(folder: Path) -> bool:
    """Say whether a living process works on the run. The folder may be read-only."""
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
    """Write the number of the run's transactions into the lock file, just before the last one is committed.

    SQLite does not report a damaged or deleted log. A database with fewer transactions than this number has
    lost some. A failure to write the number is ignored: losses may then stay unnoticed.
    """
    text = str(n)
    with contextlib.suppress(OSError):
        os.pwrite(lock.fileno(), f"{text:>20} {zlib.crc32(text.encode()):08x}\n".encode(), 0)


def noted_writes(folder: Path) -> int:
    """Return the number that ``note_writes`` wrote, or 0 where there is none.

    Its last transaction may not be committed yet.
    """
    try:
        text, check_sum = (folder / LOCK).read_bytes().split()
        return int(text) if int(check_sum, 16) == zlib.crc32(text) else 0
    except (OSError, ValueError):  # none was noted, or the note is damaged
        return 0
