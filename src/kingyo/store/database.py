"""The SQLite files of a run: open them, check them, and explain errors."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.io.files import require_short_name
from kingyo.store.schema import RUN, DatabaseFile, changed_tables, count_of_writes, schema_version
from kingyo.store.transactions import LOCK
from kingyo.types import DATABASE, MEDIA

EVIDENCE = "evidence.db"
"""Database of what a scout measures on weights."""


def require(folder: Path) -> None:
    """Raise a ``KingyoError`` if a folder has no run database."""
    if not _has_run(folder):
        raise KingyoError(
            str(folder),
            expected=f"a run folder (with a {DATABASE})",
            received="a folder without one" if folder.is_dir() else "no such folder",
            remedy="Make one with `kingyo evolve RUN.yaml`.",
        )


def _has_run(folder: Path) -> bool:
    """Return whether a folder has a run database; it is empty if kingyo was killed when it made one."""
    path = folder / DATABASE
    return path.is_file() and path.stat().st_size > 0


OPTIONS = "options"
"""Fact that only the trial merges of a scout have: what the user allows, and what is known of the weights."""


def of_scout(folder: Path) -> KingyoError:
    """Return the error of commands that continue or export a run; a scout scores fit, and no baselines."""
    return KingyoError(
        str(folder),
        expected="a run of `kingyo evolve`",
        received="the trial merges of `kingyo scout`",
        remedy="Continue them with the same command that began them. `kingyo evolve` then runs the run.yaml "
        "that `kingyo scout` writes.",
    )


def require_new(folder: Path) -> None:
    """Raise a ``KingyoError`` unless the path is free or an empty folder."""
    require_short_name(folder)
    if not folder.exists() or (folder.is_dir() and all(_is_evidence(path) for path in folder.iterdir())):
        return
    is_run = _has_run(folder)
    going_on = f"Continue it with `kingyo resume {shlex.quote(str(folder))}`, or choose"
    raise KingyoError(
        str(folder),
        expected="a run folder that does not exist yet",
        received="an existing run" if is_run else "other files",
        remedy=f"{going_on if is_run else 'Choose'} another run folder (--run).",
    )


def _is_evidence(path: Path) -> bool:
    """Return whether a file has what a scout measured before the run begins."""
    return path.name.startswith(EVIDENCE)


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
    return open_file(path, "mode=ro" if has_log else "immutable=1")


def open_file(path: Path, parameters: str) -> sqlite3.Connection:
    """Open a database with parameters of SQLite's URIs, such as ``mode=ro``, and wait 30 s for locks."""
    name = f"{path.resolve().as_uri()}?{parameters}"
    return sqlite3.connect(name, uri=True, timeout=30, check_same_thread=False)


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
        remedy=RUN.restore,
    )


def check(connection: sqlite3.Connection, folder: Path, file: DatabaseFile = RUN) -> None:
    """Check that a database is sound, belongs to a run, and was not changed by another program.

    Raises:
        KingyoError: it is not.
        sqlite3.Error: SQLite cannot read it, see ``database_error``.
    """
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise damaged(folder, str(verdict), file)
    has_tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] > 0
    version = schema_version(connection, folder, file)
    if has_tables and version == 0:
        raise KingyoError(
            str(folder / file.name),
            expected="the database of a run",
            received="a SQLite database of something else",
            remedy="Name the folder of a run, or move this file away.",
        )
    tables = changed_tables(connection) if version else []
    if tables:
        raise KingyoError(
            str(folder / file.name),
            expected=f"contents as kingyo wrote them ({', '.join(f'table {name}' for name in tables)})",
            received="different ones: a disk or another program has changed the file",
            remedy=f"{file.restore} Nothing was changed now.",
        )


REFUSED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""Error codes of SQLite after which nothing was written."""
PASSING = (
    *REFUSED,
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM),
)
"""Error codes of SQLite that do not mean that the file is damaged."""


def database_error(folder: Path, error: Exception, *, was_checked: bool = False) -> KingyoError:
    """Return the ``KingyoError`` for an error of SQLite.

    It calls stored data safe only if they are known to be.
    """
    if is_damage(error):
        return damaged(folder, str(error))
    is_safe = was_checked and _code(error) in REFUSED and (folder / f"{DATABASE}-wal").exists()
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


def is_damage(error: Exception) -> bool:
    """Return whether an error of SQLite means that the file is damaged."""
    return _code(error) not in PASSING


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def damaged(folder: Path, reason: str, file: DatabaseFile = RUN) -> KingyoError:
    """Return the ``KingyoError`` for a damaged file."""
    place, expected = str(folder / file.name), "a sound SQLite database"
    return KingyoError(place, expected=expected, received=reason, remedy=file.restore)


@contextlib.contextmanager
def explained_errors(
    folder: Path, explain: Callable[[Path, Exception], KingyoError] = database_error
) -> Generator[None]:
    """Turn errors of SQLite into a ``KingyoError``."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes bytes that are no text
        raise explain(folder, error) from error
