"""The SQLite file under a run: connecting, checking, migrating.

It knows the schema and nothing of what the rows mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar, cast

from kingyo.errors import KingyoError
from kingyo.io.files import require_short_name
from kingyo.store.lock import LOCK
from kingyo.store.sums import SUMS, changed, seal, writes
from kingyo.types import MEDIA

T = TypeVar("T")

DATABASE = "run.db"
AGAIN = "Restore it from a copy, or delete the folder and start again with `kingyo evolve`."

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE items (
        id TEXT PRIMARY KEY, split TEXT NOT NULL CHECK (split IN ('fit', 'validation', 'test')),
        position INTEGER NOT NULL, content TEXT NOT NULL, UNIQUE (split, position)) WITHOUT ROWID;
    CREATE TABLE searches (
        name TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, description TEXT NOT NULL,
        winner INTEGER REFERENCES trials (id)) WITHOUT ROWID;
    CREATE TABLE trials (
        id INTEGER PRIMARY KEY, search TEXT NOT NULL REFERENCES searches (name), number INTEGER NOT NULL,
        batch INTEGER NOT NULL, name TEXT, genome TEXT NOT NULL, parents TEXT NOT NULL,
        recipe TEXT NOT NULL, recipe_hash TEXT NOT NULL, asked_at REAL NOT NULL, UNIQUE (search, number));
    CREATE INDEX trials_by_recipe ON trials (recipe_hash);
    CREATE TABLE evaluations (
        trial INTEGER NOT NULL REFERENCES trials (id), split TEXT NOT NULL, failure TEXT,
        build_seconds REAL NOT NULL, score_seconds REAL NOT NULL, ended_at REAL NOT NULL,
        copied_from INTEGER REFERENCES trials (id), PRIMARY KEY (trial, split)) WITHOUT ROWID;
    CREATE TABLE item_scores (
        trial INTEGER NOT NULL, split TEXT NOT NULL, item TEXT NOT NULL REFERENCES items (id),
        score REAL NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (trial, item),
        FOREIGN KEY (trial, split) REFERENCES evaluations (trial, split)) WITHOUT ROWID;
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, started_at REAL NOT NULL, seen_at REAL NOT NULL);
    """,
    # 2: an evaluation may have parts, each of some of the items; and what the strategy was told is kept.
    """
    CREATE TABLE parts (
        trial INTEGER NOT NULL REFERENCES trials (id), split TEXT NOT NULL, part INTEGER NOT NULL,
        n_items INTEGER NOT NULL, failure TEXT, build_seconds REAL NOT NULL, score_seconds REAL NOT NULL,
        ended_at REAL NOT NULL, copied_from INTEGER REFERENCES trials (id),
        PRIMARY KEY (trial, split, part)) WITHOUT ROWID;
    INSERT INTO parts SELECT trial, split, 0,
        (SELECT COUNT(*) FROM items i WHERE i.split = e.split),
        failure, build_seconds, score_seconds, ended_at, copied_from FROM evaluations e;
    CREATE TABLE scores (
        trial INTEGER NOT NULL, split TEXT NOT NULL, part INTEGER NOT NULL,
        item TEXT NOT NULL REFERENCES items (id), score REAL NOT NULL, answer TEXT NOT NULL,
        PRIMARY KEY (trial, item), FOREIGN KEY (trial, split, part) REFERENCES parts (trial, split, part)
        ) WITHOUT ROWID;
    INSERT INTO scores SELECT trial, split, 0, item, score, answer FROM item_scores;
    DROP TABLE item_scores;
    DROP TABLE evaluations;
    CREATE TABLE outcomes (
        id INTEGER PRIMARY KEY, trial INTEGER NOT NULL UNIQUE REFERENCES trials (id), failure TEXT,
        value REAL, objectives TEXT NOT NULL, is_partial INTEGER NOT NULL);
    INSERT INTO outcomes (trial, failure, value, objectives, is_partial)
        SELECT t.id, p.failure, (SELECT AVG(s.score) FROM scores s WHERE s.trial = t.id AND s.split = 'fit'),
        '[]', 0 FROM trials t JOIN parts p ON p.trial = t.id AND p.split = 'fit'
        WHERE t.search != 'baselines' AND NOT EXISTS (
            SELECT 1 FROM trials u LEFT JOIN parts q ON q.trial = u.id AND q.split = 'fit'
            WHERE u.search = t.search AND u.batch = t.batch AND q.trial IS NULL) ORDER BY t.id;
    """,
    # 3: how many outcomes a strategy had been told when it asked; it was not needed with generations alone.
    """
    ALTER TABLE trials ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
    """,
    # 4: the latest state of each search's strategy, as it was before it asked for a trial; and a generation
    # is found without reading all others.
    """
    CREATE INDEX trials_by_batch ON trials (search, batch);
    CREATE TABLE states (
        search TEXT PRIMARY KEY REFERENCES searches (name), trial INTEGER NOT NULL REFERENCES trials (id),
        version TEXT NOT NULL, log TEXT NOT NULL, content TEXT NOT NULL) WITHOUT ROWID;
    """,
    # 5: how many rows each table has, and the sum of their hashes.
    SUMS,
    # 6: whether an answer was cut by max_new_tokens; older answers count as not cut. The grader `choice` of
    # older runs keeps its old default, no normalisation: a fact says so.
    """
    ALTER TABLE scores ADD COLUMN is_cut INTEGER NOT NULL DEFAULT 0;
    INSERT INTO facts SELECT 'choice_normalise', 'false' FROM facts
        WHERE key = 'config' AND INSTR(value, '"choice"');
    """,
    # 7: the image that was answered, as JSON.
    "ALTER TABLE scores ADD COLUMN media TEXT;",
    # 8: no states of strategies: a resume replays the log.
    "DROP TABLE states;",
)
SUMMED = 5
"""From this version on a database has sums."""
HOLDS = {
    "facts": "the facts about the run",
    "items": "the items",
    "outcomes": "what the searches were told",
    "parts": "what was evaluated when, and its failures",
    "scores": "scores and answers",
    "searches": "the searches and their winners",
    "sessions": "the times of work",
    "trials": "the trials and their recipes",
}


def require(folder: Path) -> None:
    """Raise unless the folder holds a run."""
    if not (folder / DATABASE).is_file():
        raise KingyoError(
            str(folder),
            expected=f"a run folder (with a {DATABASE})",
            received=_what_is_there(folder),
            remedy="`kingyo evolve RUN.yaml` makes one.",
        )
    if (folder / DATABASE).stat().st_size == 0:
        raise _no_run(folder, "an empty file", AGAIN)


def _no_run(folder: Path, received: str, remedy: str) -> KingyoError:
    return KingyoError(
        str(folder / DATABASE),
        expected="the database of a run",
        received=received,
        remedy=remedy,
    )


def _what_is_there(folder: Path) -> str:
    if folder.is_dir():
        return "a folder without one"
    return "a file" if folder.exists() else "no such folder"


def require_new(folder: Path) -> None:
    """Raise unless a run folder can be made there: nothing is, or an empty folder."""
    require_short_name(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    is_run = (folder / DATABASE).is_file()
    other = "choose another run folder (--run)."
    raise KingyoError(
        str(folder),
        expected="a run folder that does not exist yet",
        received="one that is there already" if is_run else f"{_what_is_there(folder)}, which is no run",
        remedy=f"Go on with it by `kingyo resume {shlex.quote(str(folder))}`, or {other}"
        if is_run
        else other.capitalize(),
    )


def connect(path: Path) -> sqlite3.Connection:
    """Open (or make) the file with foreign keys and write-ahead log.

    Raises:
        KingyoError: it cannot be opened.
        sqlite3.Error: it is damaged, or a full disk or the like is in the way.
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


def connect_to_look(folder: Path) -> sqlite3.Connection:
    """Open the database of a run only for reading. Its folder may be read-only.

    This leaves a log beside the database as it is. A connection that may write would, when it closes, copy
    the readable part of the log into the database and delete the log.
    """
    path, log = folder / DATABASE, folder / f"{DATABASE}-wal"
    is_logged = log.exists() and log.stat().st_size > 0
    if not is_logged and os.access(folder, os.W_OK) and os.access(path, os.W_OK):
        return connect(path)
    how = "mode=ro" if is_logged else "immutable=1"
    uri = f"{path.resolve().as_uri()}?{how}"
    return sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)


@contextlib.contextmanager
def removed_after_error(folder: Path) -> Generator[None]:
    """Take back a run folder that could not be set up; what is not the run's own stays.

    Also after Ctrl-C: to copy many images takes a while.
    """
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
    """Say how many transactions were stored and cannot be found; None where none is missing.

    SQLite reads its log up to the first damaged page. It does not report what follows, nor a missing log.

    Args:
        connection: to the database of a run.
        folder: of the run.
        noted: how many had been noted before the connection was made.
    """
    stored = writes(connection) if schema_version(connection, folder) >= SUMMED else 0
    n = noted - stored
    if n <= 0:
        return None
    causes = f"its log {DATABASE}-wal is damaged or gone, or {DATABASE} is an older copy"
    if n == 1:
        return (
            f"The last write to {DATABASE} could not be found: it was not finished as the run was stopped, "
            f"or {causes}."
        )
    return f"The last {n:,} writes to {DATABASE} could not be found: {causes}."


def require_tables(connection: sqlite3.Connection, folder: Path, lost: str | None) -> None:
    """Raise when the process that made the file was stopped before it had filled the first tables.

    Args:
        connection: to the database of a run.
        folder: of the run.
        lost: a sentence on stored writes that cannot be found, if there are any.
    """
    made = schema_version(connection, folder) > 0
    if not made or connection.execute("SELECT COUNT(*) FROM facts").fetchone()[0] == 0:
        raise KingyoError(
            str(folder),
            expected="a run that was set up completely",
            received=f"one whose beginning is lost. {lost}"
            if lost
            else "one that was stopped before its first step",
            remedy=AGAIN if lost else "Delete the folder and start again with `kingyo evolve`.",
        )


def schema_version(connection: sqlite3.Connection, folder: Path) -> int:
    """Return the version of the file; one that is newer than this program is an error."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise KingyoError(
            str(folder / DATABASE),
            expected=f"a database of version {len(MIGRATIONS)} or older",
            received=f"version {version}",
            remedy="Install the newer kingyo that wrote it.",
        )
    return version


def migrate(connection: sqlite3.Connection, folder: Path) -> None:
    """Bring an older file up to the newest schema, in one transaction, and store the sums of its tables."""
    version = schema_version(connection, folder)
    if version == len(MIGRATIONS):
        return
    steps = "".join(MIGRATIONS[version:])
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(MIGRATIONS)};")
        seal(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def migrated_copy(connection: sqlite3.Connection, folder: Path) -> sqlite3.Connection:
    """Return a copy in memory with the newest schema. The file itself stays as it is."""
    copy = sqlite3.connect(":memory:")
    try:
        connection.backup(copy)
        migrate(copy, folder)
    except BaseException:
        copy.close()
        raise
    return copy


def check(connection: sqlite3.Connection, folder: Path) -> None:
    """Raise if the file is damaged, does not hold what was written to it, or holds no run.

    Raises:
        KingyoError: the file is damaged, was changed by something else, or holds no run.
        sqlite3.Error: SQLite cannot read it, see ``unusable``.
    """
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise _damaged(folder, str(verdict))
    has_tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] > 0
    version = schema_version(connection, folder)
    if has_tables and version == 0:
        elsewhere = "Name the folder of a run, or move this file away."
        raise _no_run(folder, "a SQLite database of something else", elsewhere)
    tables = changed(connection) if version >= SUMMED else []
    if tables:
        what = [f"{HOLDS.get(name, 'what it says of itself')} (table {name})" for name in tables]
        raise KingyoError(
            str(folder / DATABASE),
            expected=f"{', '.join(what)} as kingyo wrote them",
            received="different ones: a disk or another program has changed the file",
            remedy=f"Nothing was changed now. {AGAIN}",
        )


@contextlib.contextmanager
def clear_errors(folder: Path) -> Generator[None]:
    """Turn what SQLite says of a full disk, or of a file that may not be written, into one clear message."""
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(folder, error) from error
    except UnicodeDecodeError as error:  # SQLite quotes what is no text
        raise _damaged(folder, str(error)) from error


REFUSED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""Error codes of SQLite after which nothing was written."""
IN_THE_WAY = (
    *REFUSED,
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM),
)
"""Error codes of SQLite that may pass, and do not mean that the file is damaged."""


def unusable(folder: Path, error: sqlite3.Error, *, was_checked: bool = False) -> KingyoError:
    """Say what an error of SQLite means for the run. It calls stored data safe only where that is known.

    Args:
        folder: of the run.
        error: of SQLite.
        was_checked: whether the database was found whole and written to since; False while it is opened.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code not in IN_THE_WAY:
        return _damaged(folder, str(error))
    is_safe = was_checked and code in REFUSED and (folder / f"{DATABASE}-wal").exists()
    known = (
        "What was stored before is safe. " if is_safe else "" if was_checked else "Nothing was changed now. "
    )
    remedy = f"{known}Fix the cause, then go on with `kingyo resume`, which checks what is stored."
    if not (folder / DATABASE).exists():
        remedy = "There is no such file now. Fix the cause, then begin again with `kingyo evolve`."
    return KingyoError(
        str(folder / DATABASE),
        expected="a database that can be read and written",
        received=str(error),
        remedy=remedy,
    )


def decoded(text: object, kind: type[T], what: str) -> T:
    """Return what a JSON column holds.

    Raises:
        sqlite3.DataError: it is no JSON, or of another kind: someone edited the file.
    """
    try:
        found: object = json.loads(cast("str", text))
    except (TypeError, ValueError) as error:
        raise sqlite3.DataError(f"{what} is no JSON: {str(text)[:40]!r}") from error
    if not isinstance(found, kind):
        raise sqlite3.DataError(f"{what} is another value than was written: {str(text)[:40]!r}")
    return found


def numbers(text: object, what: str) -> tuple[float, ...]:
    """Return what a JSON column of numbers holds; raises as ``decoded``."""
    found = cast("list[object]", decoded(text, list, what))
    if not all(isinstance(each, int | float) for each in found):
        raise sqlite3.DataError(f"{what} is no list of numbers: {str(text)[:40]!r}")
    return tuple(float(cast("float", each)) for each in found)


def _damaged(folder: Path, reason: str) -> KingyoError:
    return KingyoError(
        str(folder / DATABASE),
        expected="a sound SQLite database",
        received=reason,
        remedy=AGAIN,
    )
