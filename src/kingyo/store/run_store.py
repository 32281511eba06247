"""The database of a run: open it under a lock, tell whether it lost writes, and store facts and items."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shlex
import shutil
import time
import zlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from kingyo.core.io.files import put_in_place, require_short_name
from kingyo.core.types import DATABASE, MEDIA, SPLITS, Item, Split
from kingyo.errors import KingyoError
from kingyo.store.database import DatabaseFile
from kingyo.store.side_databases import EVIDENCE
from kingyo.store.trial_log import TrialLog, item_json, keep_media, read_item

VERSION = 8
RUN = DatabaseFile(
    name=DATABASE,
    tables=Path(__file__).with_name("run.sql").read_text(encoding="utf-8"),
    version=VERSION,
    pragmas=("foreign_keys = ON", "journal_mode = WAL"),
    restore="Restore it from a copy, or delete the folder and start again with `kingyo evolve`.",
    retry="Fix the cause, then continue with `kingyo resume`, which checks the database.",
)
LOCK = "run.lock"
"""File that is locked while a process works on the run. It has the number of transactions."""
WAIT_SECONDS = 0.5
"""Longer than ``is_locked`` of other processes holds its shared lock."""
SYNC_SECONDS = 1.0
"""How much of a run a power loss may cost, in seconds."""
OPTIONS = "options"
"""Fact that only the trial merges of a scout have: what the user allows, and what is known of the weights."""


class RunStore(TrialLog):
    """The database of one run folder. Open it with ``create``, ``open`` or ``read``; it is a context manager.

    Attributes:
        folder: run folder.
        lost: a sentence on stored writes that were missing when the run was opened, or None.
    """

    def __init__(
        self, folder: Path, lock: IO[str] | None = None, lost: str | None = None, noted: int = 0
    ) -> None:
        self.lost, self._lock, self._synced = lost, lock, -math.inf
        super().__init__(folder, RUN, writes=lock is not None, is_checked=lock is not None)
        with self._closed_after_error():
            if lock is not None:
                now = time.time()
                with self._transaction():
                    row = self._db.execute(
                        "INSERT INTO sessions (pid, started_at, seen_at) VALUES (?, ?, ?)",
                        (os.getpid(), now, now),
                    )
                self.session = row.lastrowid
                return
            self.lost = self._lost_writes(noted)
            if not self.n_writes or not self._rows("SELECT 1 FROM facts LIMIT 1"):
                received = self.lost or "one that was stopped before its first step"
                raise KingyoError(str(folder), "a run that was set up completely", received, RUN.restore)
            self._db.execute("PRAGMA query_only = 1")

    @classmethod
    def create(cls, folder: Path) -> RunStore:
        """Create a run folder and its database."""
        require_new(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(folder, error, "Choose a folder that you may write to with --run.") from error
        with ExitStack() as stack:
            lock = stack.enter_context(acquire(folder))
            stack.enter_context(_removed_after_error(folder))
            store = cls(folder, lock)
            stack.pop_all()
        return store

    @classmethod
    def open(cls, folder: Path) -> RunStore:
        """Open a run for writing; one process at a time."""
        _require_run(folder)
        with ExitStack() as stack:
            lock = stack.enter_context(acquire(folder))
            with cls(folder, noted=noted_writes(folder)) as looked:  # nothing is written before it is checked
                looked.require_no_scout()
                rows = looked._rows("""SELECT content FROM items WHERE INSTR(content, '"media":[')""")
                for media in {media for (content,) in rows for media in read_item(content, folder).media}:
                    media.read()
            store = cls(folder, lock, looked.lost)
            stack.pop_all()
        return store

    @classmethod
    def read(cls, folder: Path) -> RunStore:
        """Open a run for reading, even while another process writes to it."""
        _require_run(folder)
        return cls(folder, noted=noted_writes(folder) - is_locked(folder))  # the last may be in flight

    def require_no_scout(self) -> None:
        """Refuse the trial merges of a scout: a scout scores fit, and no baselines."""
        if self.fact(OPTIONS) is not None:
            expected = "a run of `kingyo evolve`"
            received = "the trial merges of `kingyo scout` of an older checkout"
            remedy = "Use the checkout that wrote them, or begin again with `kingyo scout --task`."
            raise KingyoError(str(self.folder), expected, received, remedy)

    def close(self) -> None:
        super().close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Run one transaction; sync the disk if the last sync was a second ago.

        A killed process loses nothing: the system has all committed data. Syncing each time would take longer
        than scoring a small model.
        """
        is_due = time.monotonic() - self._synced >= SYNC_SECONDS
        self._db.execute(f"PRAGMA synchronous = {'FULL' if is_due else 'NORMAL'}")
        with super()._transaction():
            yield
            if self._lock is not None:
                note_writes(self._lock, self.n_writes + 1)
        if is_due:
            self._synced = time.monotonic()

    def _lost_writes(self, noted: int) -> str | None:
        """Return a sentence on stored transactions that are missing, or None.

        SQLite reads its log up to the first damaged page. It reports neither what follows nor a missing log.
        """
        n = noted - self.n_writes
        if n <= 0:
            return None
        writes = f"{n:,} writes" if n > 1 else "write"
        unfinished = "" if n > 1 else "it was not finished when the run was stopped, or "
        return (
            f"The last {writes} to {DATABASE} got lost: {unfinished}its log {DATABASE}-wal is damaged or "
            f"gone, or {DATABASE} is an older copy."
        )

    def begin(self, facts: Mapping[str, object], splits: Mapping[Split, Sequence[Item]]) -> None:
        """Store the facts and items of a new run in one transaction, and copy media into its folder.

        Raises:
            KingyoError: media cannot be read, or files cannot be written; the run folder is deleted then.
        """
        rows = [
            (item.id, split, position, item_json(item))
            for split, items in splits.items()
            for position, item in enumerate(items)
        ]
        media = (media for items in splits.values() for item in items for media in item.media)
        with self._explained(), _removed_after_error(self.folder):
            keep_media(media, self.folder)
            with self._transaction():
                self._write_facts(facts)
                self._db.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)

    def set_fact(self, key: str, value: object) -> None:
        """Store a JSON value under a key."""
        self.reopen({key: value}, {})

    def reopen(self, facts: Mapping[str, object], winners: Mapping[str, int | None]) -> None:
        """Store facts and winners in one transaction."""
        rows = [(trial, name) for name, trial in winners.items()]
        with self._transaction():
            self._write_facts(facts)
            self._db.executemany("UPDATE searches SET winner = ? WHERE name = ?", rows)

    def begin_again(self, archive: Path, facts: Mapping[str, object], forgotten: Iterable[str] = ()) -> None:
        """Copy the database to another file, then delete all searches, trials and scores.

        Items and other facts stay. The copy is complete or missing; one transaction makes all changes.
        """
        partial = archive.with_name(f".{archive.name}")
        partial.unlink(missing_ok=True)
        try:
            self._db.execute("VACUUM INTO ?", (str(partial),))
            put_in_place(partial, archive)
        finally:
            partial.unlink(missing_ok=True)
        self._synced = -math.inf  # sync the next transaction
        with self._transaction():
            self._db.execute("UPDATE searches SET winner = NULL")
            for table in ("outcomes", "scores", "parts", "trials", "searches"):
                self._db.execute(f"DELETE FROM {table}")
            self._db.execute("DELETE FROM sessions WHERE id IS NOT ?", (self.session,))
            self._db.executemany("DELETE FROM facts WHERE key = ?", [(str(key),) for key in forgotten])
            self._write_facts(facts)

    def status(self) -> str:
        """Return ``running``, ``stopped`` (killed or interrupted; can be resumed), or ``finished``."""
        stored = str(self.fact("status"))
        if stored == "finished" or self._lock is not None or is_locked(self.folder):
            return stored
        return "stopped"

    def seconds(self) -> float:
        """Return the working time of all sessions, in seconds."""
        query = "SELECT COALESCE(SUM(seen_at - started_at), 0) FROM sessions"
        return float(self._db.execute(query).fetchone()[0])

    def items(self) -> dict[Split, tuple[Item, ...]]:
        items: dict[Split, list[Item]] = {split: [] for split in SPLITS}
        for split, content in self._db.execute("SELECT split, content FROM items ORDER BY split, position"):
            items[split].append(read_item(content, self.folder))
        return {split: tuple(each) for split, each in items.items()}

    def groups(self) -> dict[str, str]:
        """Return the id of each item that belongs together with others -> its ``Item.group``."""
        query = "SELECT id, json_extract(content, '$.group') AS label FROM items WHERE label IS NOT NULL"
        return dict(self._db.execute(query).fetchall())


def _has_run(folder: Path) -> bool:
    """Return whether a folder has a run database; it is empty if kingyo was killed when it made one."""
    path = folder / DATABASE
    return path.is_file() and path.stat().st_size > 0


def _require_run(folder: Path) -> None:
    if not _has_run(folder):
        received = "a folder without one" if folder.is_dir() else "no such folder"
        remedy = "Make one with `kingyo evolve RUN.yaml`."
        raise KingyoError(str(folder), f"a run folder (with a {DATABASE})", received, remedy)


def require_new(folder: Path) -> None:
    """Raise a ``KingyoError`` unless the path is free, or a folder with no more than a scout's evidence."""
    require_short_name(folder)
    is_free = folder.is_dir() and all(path.name.startswith(EVIDENCE) for path in folder.iterdir())
    if is_free or not folder.exists():
        return
    is_run = _has_run(folder)
    going_on = f"Continue it with `kingyo resume {shlex.quote(str(folder))}`, or choose"
    expected = "a run folder that does not exist yet"
    remedy = f"{going_on if is_run else 'Choose'} another run folder (--run)."
    raise KingyoError(str(folder), expected, "an existing run" if is_run else "other files", remedy)


def _not_writable(folder: Path, error: OSError, remedy: str) -> KingyoError:
    expected = "a folder that can be written"
    return KingyoError(str(folder), expected, str(error), remedy)


@contextmanager
def _removed_after_error(folder: Path) -> Generator[None]:
    """Delete the files of a run whose setup fails or is interrupted; other files in the folder stay."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        with contextlib.suppress(OSError):
            for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / MEDIA, ignore_errors=True)
            folder.rmdir()
        raise


def acquire(folder: Path) -> IO[str]:
    """Lock a run folder. The kernel releases the lock when the process ends, however it ends."""
    try:
        lock = os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except OSError as error:
        remedy = "Make the folder writable, or copy the run; `kingyo show` works without."
        raise _not_writable(folder, error, remedy) from error
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            lock.close()
            received = "a run that another process has locked"
            remedy = "Wait until that process ends, or stop it; `kingyo show` works meanwhile."
            raise KingyoError(str(folder), "a run that no other process uses", received, remedy) from error
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
