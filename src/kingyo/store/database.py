"""SQLite databases with checksums: runs, choices of people, and measurements of weights.

The table ``sums`` has the number of rows of each table and the sum of their hashes. Triggers of the writing
connection update them within each transaction; opening a database compares them. This detects flipped bits,
lost rows and edits by other programs, which SQLite does not.
"""

import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from kingyo.errors import KingyoError


@dataclass(frozen=True, kw_only=True)
class DatabaseFile:
    """A kind of database.

    Attributes:
        name: name of the file.
        tables: statements that create its tables.
        version: version of its tables.
        pragmas: settings of a connection that writes.
        restore: advice if the file is damaged.
        retry: advice if the file cannot be read or written.
    """

    name: str
    tables: str
    version: int
    pragmas: tuple[str, ...]
    restore: str
    retry: str


_SUMS = """
    CREATE TABLE sums (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO sums VALUES ('writes', 0, 0);
"""
_MASK = (1 << 62) - 1  # a sum of two fits SQLite's integers
_SCHEMA, _WRITES = "sqlite_master", "writes"  # the row ``writes`` counts transactions, up and down
_CALLBACK_RAISED = "user-defined function raised exception"
"""SQLite's message in place of the exception of a Python function."""
_NOT_DAMAGED = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM),
)
"""Error codes of SQLite that do not mean that the file is damaged."""


class Database:
    """An open database in a folder. It is a context manager.

    Args:
        folder: the folder.
        file: the kind of database.
        writes: whether to write; if so, the tables are created if there are none.
        is_checked: whether its contents were checked before.
    """

    def __init__(self, folder: Path, file: DatabaseFile, *, writes: bool, is_checked: bool = False) -> None:
        self.folder, self.path, self._file = folder, folder / file.name, file
        with self._explained():
            if self.path.is_dir():
                raise self._damaged("a folder")
            self._db = self._connect("mode=rwc" if writes else self._mode_of_reader())
            with self._closed_after_error():
                for pragma in file.pragmas if writes else ():
                    self._db.execute(f"PRAGMA {pragma}")
                if not is_checked:
                    self._check()
                if writes:
                    self._create_tables()
                    self._watch()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise self._error(error) from error

    @property
    def n_writes(self) -> int:
        """The number of transactions so far; 0 without tables."""
        query = "SELECT rows FROM sums WHERE name = ?"
        return int(self._db.execute(query, (_WRITES,)).fetchone()[0]) if self._version() else 0

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            with self._db:
                yield
                self._db.execute("UPDATE sums SET rows = rows + 1, sum = sum - 1 WHERE name = ?", (_WRITES,))
        except sqlite3.OperationalError as error:
            if _CALLBACK_RAISED in str(error):  # Ctrl-C within row_hash, which raises nothing else
                raise KeyboardInterrupt from error
            raise

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._explained():
            return self._db.execute(query, values).fetchall()

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        with self._explained(), self._transaction():
            return self._db.execute(statement, values).rowcount

    def _connect(self, mode: str) -> sqlite3.Connection:
        name = f"{self.path.resolve().as_uri()}?{mode}"
        return sqlite3.connect(name, uri=True, timeout=30, check_same_thread=False)

    def _mode_of_reader(self) -> str:
        """Return how to open the file for reading. Its folder may be read-only.

        A log beside the database stays. A connection that may write would, when it closes, copy the readable
        part of the log into the database and delete the log.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size > 0:
            return "mode=ro"
        if os.access(self.folder, os.W_OK) and os.access(self.path, os.W_OK):
            return "mode=rw"
        return "immutable=1" if "journal_mode = WAL" in self._file.pragmas else "mode=ro"

    def _create_tables(self) -> None:
        if self._version():
            return
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            if not self._version():  # no other process was first
                for statement in filter(None, map(str.strip, (self._file.tables + _SUMS).split(";"))):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {self._file.version}")
                seal(self._db)

    def _version(self) -> int:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version in (0, self._file.version):
            return version
        expected = f"a database of version {self._file.version}"
        remedy = (
            "Install the newer kingyo that wrote it."
            if version > self._file.version
            else "Open it with the older kingyo that wrote it, or start a new run with `kingyo evolve`."
        )
        raise KingyoError(str(self.path), expected, f"version {version}", remedy)

    def _check(self) -> None:
        verdict = self._db.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise self._damaged(str(verdict))
        is_empty = not self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        if self._version() == 0 and not is_empty:
            expected = "the database of a run"
            remedy = "Name the folder of a run, or move this file away."
            raise KingyoError(str(self.path), expected, "a SQLite database of something else", remedy)
        if tables := [] if is_empty else self._changed_tables():
            expected = f"contents as kingyo wrote them ({', '.join(f'table {name}' for name in tables)})"
            received = "different ones: a disk or another program has changed the file"
            remedy = f"{self._file.restore} Nothing was changed now."
            raise KingyoError(str(self.path), expected, received, remedy)

    def _changed_tables(self) -> list[str]:
        self._db.execute("BEGIN")  # one transaction reads them all, since another process may write
        try:
            stored = {name: sums for name, *sums in self._db.execute("SELECT * FROM sums")}
            n = stored.get(_WRITES, [0])[0]
            computed = {**{name: [*sums] for name, *sums in _sums(self._db)}, _WRITES: [n, -n]}
        finally:
            self._db.rollback()
        return sorted(name for name in {*stored, *computed} if stored.get(name) != computed.get(name))

    def _watch(self) -> None:
        self._db.create_function("row_hash", -1, row_hash, deterministic=True)
        self._db.execute("PRAGMA temp_store = MEMORY")
        self._db.execute("PRAGMA recursive_triggers = ON")  # so that triggers see rows that REPLACE deletes
        for table in _tables(self._db):
            columns = [row[1] for row in self._db.execute(f"PRAGMA table_info('{table}')")]
            old, new = (
                f"row_hash({', '.join(f'{row}.{each}' for each in columns)})" for row in ("OLD", "NEW")
            )
            for event, n, change in (
                ("INSERT", 1, f"+ {new}"), ("UPDATE", 0, f"+ {new} - {old}"), ("DELETE", -1, f"- {old}"),
            ):  # fmt: skip
                self._db.execute(
                    f"CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table} BEGIN UPDATE sums"
                    f" SET rows = rows + {n}, sum = (sum {change}) & {_MASK} WHERE name = '{table}'; END"
                )

    @contextmanager
    def _closed_after_error(self) -> Generator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes bytes that are no text
            raise self._error(error) from error

    def _error(self, error: Exception) -> KingyoError:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _NOT_DAMAGED:
            return self._damaged(str(error))
        expected = "a file that can be read and written"
        return KingyoError(str(self.path), expected, str(error), self._file.retry)

    def _damaged(self, reason: str) -> KingyoError:
        expected = "a sound SQLite database"
        return KingyoError(str(self.path), expected, reason, self._file.restore)


def row_hash(*values: object) -> int:
    """Return a hash of the values and types of a row, equal in every process."""
    return int.from_bytes(blake2b(ascii(values).encode("ascii"), digest_size=8).digest(), "big") & _MASK


def seal(connection: sqlite3.Connection) -> None:
    """Recompute and store all sums within the caller's transaction."""
    connection.execute("DELETE FROM sums WHERE name != ?", (_WRITES,))
    connection.executemany("INSERT INTO sums VALUES (?, ?, ?)", list(_sums(connection)))


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        f"SELECT name FROM {_SCHEMA} WHERE type = 'table' AND name != 'sums' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in rows]


def _sums(connection: sqlite3.Connection) -> Iterator[tuple[str, int, int]]:
    schema = f"SELECT type, name, tbl_name, sql FROM {_SCHEMA} WHERE name NOT LIKE 'sqlite_%'"
    queries = {name: f"SELECT * FROM {name} NOT INDEXED" for name in _tables(connection)}
    for name, query in {**queries, _SCHEMA: schema}.items():
        rows = total = 0
        for row in connection.execute(query):
            rows, total = rows + 1, total + row_hash(*row)
        yield name, rows, total & _MASK
