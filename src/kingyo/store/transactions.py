"""The connection of an opened run database, and its transactions."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kingyo.store.lock import note_writes
from kingyo.store.sums import count_write

SYNC_SECONDS = 1.0
"""How much of a run a power loss may cost, in seconds."""


class OpenDatabase:
    """An open run database.

    Args:
        connection: to a database of the newest schema; ``sums.watch`` was called if it may write.
        lock: lock of the run folder; None to read only.
        folder: run folder.
    """

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
        with self._db:
            yield
            n_writes = count_write(self._db)
            if self._lock is not None:
                note_writes(self._lock, n_writes)
        if is_due:
            self._synced = time.monotonic()
