"""Choices of people between two pictures of a run, in a database beside the run's own.

The run's database belongs to the process that works on the run; people may choose meanwhile. Each choice
is on the disk when ``add`` returns. Sums detect lost and changed rows, as in the run's database.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import astuple, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from kingyo.errors import KingyoError
from kingyo.store.database import check, damaged, explained_errors, is_damage, open_file
from kingyo.store.schema import SUMS, DatabaseFile, count_write, create_tables, schema_version, watch
from kingyo.types import Split

CHOICES = "ratings.db"
Verdict = Literal["left", "right", "tie", "skip"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_TABLES = f"""
    CREATE TABLE choices (
        id INTEGER PRIMARY KEY, rater TEXT NOT NULL, split TEXT NOT NULL, item TEXT NOT NULL,
        left_model TEXT NOT NULL, right_model TEXT NOT NULL,
        left_picture TEXT NOT NULL, right_picture TEXT NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('left', 'right', 'tie', 'skip')),
        seconds REAL NOT NULL, pair TEXT NOT NULL, chosen_at REAL NOT NULL, undone_at REAL);
    CREATE UNIQUE INDEX choices_once ON choices (rater, pair) WHERE undone_at IS NULL;
    {SUMS}
"""
_FILE = DatabaseFile(
    name=CHOICES,
    tables=_TABLES,
    version=1,
    restore="Restore the file from a copy, or move it away and rate again.",
)


@dataclass(frozen=True, kw_only=True)
class StoredChoice:
    """What a person said about two pictures of one item.

    Attributes:
        rater: name of the person.
        left_model, right_model: hashes of the recipes.
        left_picture, right_picture: hashes of the files, as they were shown.
        seconds: from the display of the pair to the choice.
    """

    rater: str
    split: Split
    item: str
    left_model: str
    right_model: str
    left_picture: str
    right_picture: str
    verdict: Verdict
    seconds: float = 0.0

    @property
    def pair(self) -> str:
        """Return a name of item and pictures that does not depend on their sides."""
        return pair_name(self.item, self.left_picture, self.right_picture)


def pair_name(item: str, one: str, other: str) -> str:
    """Return a name of two pictures of an item that does not depend on their order."""
    return sha256("\n".join((item, *sorted((one, other)))).encode()).hexdigest()[:24]


class ChoiceLog:
    """The choices of a run. Several processes and threads may use one file. It is a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open the choices of a run folder for writing, and create their database if there is none."""
        self.path = folder / CHOICES
        with ExitStack() as stack:
            stack.enter_context(_explained(folder))
            self._db = stack.enter_context(closing(_connect(folder, "rwc")))
            check(self._db, folder, _FILE)
            create_tables(self._db, _FILE)
            watch(self._db)
            stack.pop_all()

    def __enter__(self) -> ChoiceLog:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.close()

    def add(self, choice: StoredChoice) -> bool:
        """Store a choice. Return False if the rater has judged this pair already; the first choice counts."""
        with self._transaction():
            done = self._db.execute(
                "INSERT OR IGNORE INTO choices VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (*astuple(choice), choice.pair, time.time()),
            )
        return done.rowcount > 0

    def undo(self, rater: str, split: Split) -> StoredChoice | None:
        """Mark the last choice of a rater on a split as undone, and return it; None if there is none."""
        with self._transaction():
            row = self._db.execute(
                f"SELECT id, {_COLUMNS} FROM choices WHERE rater = ? AND split = ? AND undone_at IS NULL"
                " ORDER BY id DESC LIMIT 1",
                (rater, split),
            ).fetchone()
            if row is not None:
                self._db.execute("UPDATE choices SET undone_at = ? WHERE id = ?", (time.time(), row[0]))
        return None if row is None else _choice(row[1:])

    def undone(self, rater: str, pair: str) -> int:
        """Return how often a rater took back a choice between two pictures."""
        query = "SELECT COUNT(*) FROM choices WHERE rater = ? AND pair = ? AND undone_at IS NOT NULL"
        with _explained(self.path.parent):
            return int(self._db.execute(query, (rater, pair)).fetchone()[0])

    def choices(self) -> tuple[StoredChoice, ...]:
        """Return all choices that were not undone, oldest first."""
        with _explained(self.path.parent):
            return _read(self._db)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with _explained(self.path.parent):
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                yield
                count_write(self._db)


def read_choices(folder: Path) -> tuple[StoredChoice, ...]:
    """Return the choices of a run folder that were not undone, oldest first; empty without any.

    Raises:
        KingyoError: their database is damaged or was changed by another program.
    """
    path = folder / CHOICES
    if not path.exists():
        return ()
    mode = "rw" if _is_writable(path) else "ro"
    with _explained(folder), closing(_connect(folder, mode)) as connection:
        check(connection, folder, _FILE)
        return _read(connection) if schema_version(connection, folder, _FILE) else ()


_COLUMNS = "rater, split, item, left_model, right_model, left_picture, right_picture, verdict, seconds"


def _read(connection: sqlite3.Connection) -> tuple[StoredChoice, ...]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM choices WHERE undone_at IS NULL ORDER BY id")
    return tuple(_choice(row) for row in rows)


def _choice(row: tuple[str, Split, str, str, str, str, str, Verdict, float]) -> StoredChoice:
    return StoredChoice(
        rater=row[0],
        split=row[1],
        item=row[2],
        left_model=row[3],
        right_model=row[4],
        left_picture=row[5],
        right_picture=row[6],
        verdict=row[7],
        seconds=row[8],
    )


def _is_writable(path: Path) -> bool:
    """Return whether SQLite may roll back a write that a killed process began."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _connect(folder: Path, mode: Literal["ro", "rw", "rwc"]) -> sqlite3.Connection:
    """Open the database. Its journal is a file that exists only during a write, and each write is synced."""
    if (folder / CHOICES).is_dir():
        raise damaged(folder, "a folder", _FILE)
    connection = open_file(folder / CHOICES, f"mode={mode}")
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


def _explained(folder: Path) -> AbstractContextManager[None]:
    return explained_errors(folder, _error)


def _error(folder: Path, error: Exception) -> KingyoError:
    if is_damage(error):
        return damaged(folder, str(error), _FILE)
    return KingyoError(
        str(folder / CHOICES),
        expected="a file that can be read and written",
        received=str(error),
        remedy="Make the run folder writable, or make room on its disk. Stored choices are kept.",
    )
