"""The SQLite file of a run: open it, check it, and explain errors."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sqlite3
from collections.abc import Generator
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.io.files import require_short_name
from kingyo.store.schema import changed_tables, count_of_writes, schema_version
from kingyo.store.transactions import LOCK
from kingyo.types import DATABASE, MEDIA

RESTORE = "Restore it from a copy, or delete the folder and start again with `kingyo evolve`."


def require(folder: Path) -> None:
    """Raise a ``KingyoError`` if a folder has no run database."""
    path = folder / DATABASE
    if not path.is_file() or path.stat().st_size == 0:
        raise KingyoError(
            str(folder),
            expected=f"a run folder (with a {DATABASE})",
            received="a folder without one" if folder.is_dir() else "no such folder",
            remedy="Make one with `kingyo evolve RUN.yaml`.",
        )


def require_new(folder: Path) -> None:
    """Raise a ``KingyoError`` unless the path is free or an empty folder."""
    require_short_name(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    is_run = (folder / DATABASE).is_file()
    going_on = f"Continue it with `kingyo resume {shlex.quote(str(folder))}`, or choose"
    raise KingyoError(
        str(folder),
        expected="a run folder that does not exist yet",
        received="an existing run" if is_run else "other files",
        remedy=f"{going_on if is_run else 'Choose'} another run folder (--run).",
    )


def connect(path: Path) -> sqlite3.Connection:
    """Open or create a database with foreign keys and a write-ahead log.

    Raises:
        KingyoError: it cannot be opened.
        sqlite3.Error: it is damaged, or the system refuses, for example because the disk is full.
    """
    try:
        connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise KingyoError(
            str(path),
            expected="a file that can be opened",
            received=str(error),
            remedy="Make the file and its folder readable and writable for you.",
        ) from error
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_read_only(folder: Path) -> sqlite3.Connection:
    """Open the database of a run for reading. Its folder may be read-only.

    The log beside the database stays. A connection that may write would, when it closes, copy the readable
    part of the log into the database and delete the log.
    """
    path, log = folder / DATABASE, folder / f"{DATABASE}-wal"
    has_log = log.exists() and log.stat().st_size > 0
    if not has_log and os.access(folder, os.W_OK) and os.access(path, os.W_OK):
        return connect(path)
    mode = "mode=ro" if has_log else "immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=30, check_same_thread=False)


@contextlib.contextmanager
def removed_after_error(folder: Path) -> Generator[None]:
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


def lost_writes(connection: sqlite3.Connection, folder: Path, noted: int) -> str | None:
    """Return a sentence on stored transactions that are missing, or None.

    SQLite reads its log up to the first damaged page. It reports neither what follows nor a missing log.
    """
    n = noted - (count_of_writes(connection) if schema_version(connection, folder) else 0)
    if n <= 0:
        return None
    writes = f"{n:,} writes" if n > 1 else "write"
    unfinished = "" if n > 1 else "it was not finished when the run was stopped, or "
    return (
        f"The last {writes} to {DATABASE} got lost: {unfinished}its log {DATABASE}-wal is damaged or gone, "
        f"or {DATABASE} is an older copy."
    )


def require_setup(connection: sqlite3.Connection, folder: Path, lost: str | None) -> None:
    """Raise a ``KingyoError`` if the run was stopped before its facts were stored."""
    has_tables = schema_version(connection, folder) > 0
    if has_tables and connection.execute("SELECT COUNT(*) FROM facts").fetchone()[0]:
        return
    raise KingyoError(
        str(folder),
        expected="a run that was set up completely",
        received=lost or "one that was stopped before its first step",
        remedy=RESTORE,
    )


def check(connection: sqlite3.Connection, folder: Path) -> None:
    """Check that a database is sound, belongs to a run, and was not changed by another program.

    Raises:
        KingyoError: it is not.
        sqlite3.Error: SQLite cannot read it, see ``database_error``.
    """
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise _damaged(folder, str(verdict))
    has_tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] > 0
    version = schema_version(connection, folder)
    if has_tables and version == 0:
        raise KingyoError(
            str(folder / DATABASE),
            expected="the database of a run",
            received="a SQLite database of something else",
            remedy="Name the folder of a run, or move this file away.",
        )
    tables = changed_tables(connection) if version else []
    if tables:
        raise KingyoError(
            str(folder / DATABASE),
            expected=f"contents as kingyo wrote them ({', '.join(f'table {name}' for name in tables)})",
            received="different ones: a disk or another program has changed the file",
            remedy=f"{RESTORE} Nothing was changed now.",
        )


@contextlib.contextmanager
def explained_errors(folder: Path) -> Generator[None]:
    """Turn errors of SQLite into a ``KingyoError``, see ``database_error``."""
    try:
        yield
    except sqlite3.Error as error:
        raise database_error(folder, error) from error
    except UnicodeDecodeError as error:  # SQLite quotes bytes that are no text
        raise _damaged(folder, str(error)) from error


REFUSED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""Error codes of SQLite after which nothing was written."""
PASSING = (
    *REFUSED,
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM),
)
"""Error codes of SQLite that do not mean that the file is damaged."""


def database_error(folder: Path, error: sqlite3.Error, *, was_checked: bool = False) -> KingyoError:
    """Return the ``KingyoError`` for an error of SQLite.

    It calls stored data safe only if they are known to be.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code not in PASSING:
        return _damaged(folder, str(error))
    is_safe = was_checked and code in REFUSED and (folder / f"{DATABASE}-wal").exists()
    status = " Data stored before are safe." if is_safe else ""
    has_file = (folder / DATABASE).exists()
    return KingyoError(
        str(folder / DATABASE),
        expected="a database that can be read and written",
        received=str(error),
        remedy=f"Fix the cause, then continue with `kingyo resume`, which checks the database.{status}"
        if has_file
        else "Fix the cause, then start again with `kingyo evolve`; the file is gone.",
    )


def _damaged(folder: Path, reason: str) -> KingyoError:
    return KingyoError(
        str(folder / DATABASE), expected="a sound SQLite database", received=reason, remedy=RESTORE
    )
