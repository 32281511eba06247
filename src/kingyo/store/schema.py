"""The tables of the databases of a run, and their checksums.

The table ``sums`` has the number of rows of each table and the sum of their hashes. Triggers of the writing
connection update them within each transaction; opening a database compares them. This detects flipped bits,
lost rows and edits by other programs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.types import DATABASE

SUMS = """
    CREATE TABLE sums (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO sums VALUES ('writes', 0, 0);
"""
"""The row ``writes`` counts transactions; its sum is the negative count."""
_MASK = (1 << 62) - 1  # a sum of two fits SQLite's integers
_SCHEMA, _WRITES = "sqlite_master", "writes"


def row_hash(*values: object) -> int:
    """Return a hash of the values and types of a row, equal in every process."""
    return int.from_bytes(blake2b(ascii(values).encode("ascii"), digest_size=8).digest(), "big") & _MASK


def watch(connection: sqlite3.Connection) -> None:
    """Update the sums with every write of a connection. Call it after ``create_tables``."""
    connection.create_function("row_hash", -1, row_hash, deterministic=True)
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA recursive_triggers = ON")  # so that triggers see rows that REPLACE deletes
    for table in _tables(connection):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info('{table}')")]
        old, new = (f"row_hash({', '.join(f'{row}.{name}' for name in columns)})" for row in ("OLD", "NEW"))
        changes = {"INSERT": (1, f"+ {new}"), "UPDATE": (0, f"+ {new} - {old}"), "DELETE": (-1, f"- {old}")}
        for event, (rows, change) in changes.items():
            connection.execute(
                f"CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table} BEGIN UPDATE sums"
                f" SET rows = rows + {rows}, sum = (sum {change}) & {_MASK} WHERE name = '{table}'; END"
            )


def seal(connection: sqlite3.Connection) -> None:
    """Recompute and store all sums within the caller's transaction."""
    connection.execute("DELETE FROM sums WHERE name != ?", (_WRITES,))
    connection.executemany(
        "INSERT INTO sums VALUES (?, ?, ?)", [(name, *sums) for name, sums in _computed(connection)]
    )


def changed_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that differ from their stored sums.

    One transaction reads them all, since another process may write.
    """
    connection.execute("BEGIN")
    try:
        stored = {name: (rows, total) for name, rows, total in connection.execute("SELECT * FROM sums")}
        n_writes = stored.get(_WRITES, (0, 0))[0]
        computed = {**dict(_computed(connection)), _WRITES: (n_writes, -n_writes)}
    finally:
        connection.rollback()
    return sorted(name for name in {*stored, *computed} if stored.get(name) != computed.get(name))


def count_write(connection: sqlite3.Connection) -> int:
    """Count the current transaction, and return the count."""
    connection.execute("UPDATE sums SET rows = rows + 1, sum = sum - 1 WHERE name = ?", (_WRITES,))
    return count_of_writes(connection)


def count_of_writes(connection: sqlite3.Connection) -> int:
    """Return the number of transactions of a database."""
    return int(connection.execute("SELECT rows FROM sums WHERE name = ?", (_WRITES,)).fetchone()[0])


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        f"SELECT name FROM {_SCHEMA} WHERE type = 'table' AND name != 'sums' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in rows]


def _computed(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the number of rows and the sum of hashes of each table and of the schema."""
    schema = f"SELECT type, name, tbl_name, sql FROM {_SCHEMA} WHERE name NOT LIKE 'sqlite_%'"
    queries = {name: f"SELECT * FROM {name} NOT INDEXED" for name in _tables(connection)}
    for name, query in {**queries, _SCHEMA: schema}.items():
        rows = total = 0
        for row in connection.execute(query):
            rows, total = rows + 1, total + row_hash(*row)
        yield name, (rows, total & _MASK)


@dataclass(frozen=True, kw_only=True)
class DatabaseFile:
    """A database in a run folder.

    Attributes:
        name: name of the file.
        tables: statements that create its tables.
        version: version of its tables.
        restore: advice to the user if the file is damaged.
    """

    name: str
    tables: str
    version: int
    restore: str


VERSION = 8
SCHEMA = f"""
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
        recipe TEXT NOT NULL, recipe_hash TEXT NOT NULL, asked_at REAL NOT NULL,
        told INTEGER NOT NULL DEFAULT 0, UNIQUE (search, number));
    CREATE INDEX trials_by_recipe ON trials (recipe_hash);
    CREATE INDEX trials_by_batch ON trials (search, batch);
    CREATE TABLE parts (
        trial INTEGER NOT NULL REFERENCES trials (id), split TEXT NOT NULL, part INTEGER NOT NULL,
        n_items INTEGER NOT NULL, failure TEXT, build_seconds REAL NOT NULL, score_seconds REAL NOT NULL,
        ended_at REAL NOT NULL, copied_from INTEGER REFERENCES trials (id),
        PRIMARY KEY (trial, split, part)) WITHOUT ROWID;
    CREATE TABLE scores (
        trial INTEGER NOT NULL, split TEXT NOT NULL, part INTEGER NOT NULL,
        item TEXT NOT NULL REFERENCES items (id), score REAL NOT NULL, answer TEXT NOT NULL,
        is_cut INTEGER NOT NULL DEFAULT 0, media TEXT,
        PRIMARY KEY (trial, item), FOREIGN KEY (trial, split, part) REFERENCES parts (trial, split, part)
        ) WITHOUT ROWID;
    CREATE TABLE outcomes (
        id INTEGER PRIMARY KEY, trial INTEGER NOT NULL UNIQUE REFERENCES trials (id), failure TEXT,
        value REAL, objectives TEXT NOT NULL, is_partial INTEGER NOT NULL);
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, started_at REAL NOT NULL, seen_at REAL NOT NULL);
    {SUMS}
"""
"""``parts`` are the evaluations: a trial is scored on a split in one or several parts."""
RUN = DatabaseFile(
    name=DATABASE,
    tables=SCHEMA,
    version=VERSION,
    restore="Restore it from a copy, or delete the folder and start again with `kingyo evolve`.",
)


def schema_version(connection: sqlite3.Connection, folder: Path, file: DatabaseFile = RUN) -> int:
    """Return the version of a database; 0 if it has no tables of kingyo."""
    version = _user_version(connection)
    if version in (0, file.version):
        return version
    raise KingyoError(
        str(folder / file.name),
        expected=f"a database of version {file.version}",
        received=f"version {version}",
        remedy="Install the newer kingyo that wrote it."
        if version > file.version
        else "Open it with the older kingyo that wrote it, or start a new run with `kingyo evolve`.",
    )


def create_tables(connection: sqlite3.Connection, file: DatabaseFile = RUN) -> None:
    """Create the tables in an empty database, with their sums, in one transaction."""
    if _user_version(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if not _user_version(connection):  # no other process was first
            for statement in filter(None, map(str.strip, file.tables.split(";"))):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {file.version}")
            seal(connection)


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
