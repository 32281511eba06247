"""How many rows each table of the run database has, and the sum of their hashes.

The table ``sums`` has a line for each other table. Triggers of the connection that writes keep it true within
each transaction; whoever opens the database counts again and compares. So a flipped bit, a row that vanished
and an edit by another program are found. It knows no table by name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from hashlib import blake2b

SUMS = """
    CREATE TABLE sums (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO sums VALUES ('writes', 0, 0);
"""
"""The line ``writes`` counts transactions. Its sum is minus its rows."""
_MASK = (1 << 62) - 1  # so that no sum of two leaves SQLite's integers
_SCHEMA, _WRITES = "sqlite_master", "writes"


def row_hash(*values: object) -> int:
    """Return a hash of a row's values and their types, the same in every process."""
    return int.from_bytes(blake2b(ascii(values).encode("ascii"), digest_size=8).digest(), "big") & _MASK


def watch(connection: sqlite3.Connection) -> None:
    """Keep the sums true for everything that a connection writes. Call it after all migrations."""
    connection.create_function("row_hash", -1, row_hash, deterministic=True)
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA recursive_triggers = ON")  # else no trigger sees the row that REPLACE removes
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
    """Store the sums of all tables as they are now, within the caller's transaction."""
    connection.execute("DELETE FROM sums WHERE name != ?", (_WRITES,))
    connection.executemany(
        "INSERT INTO sums VALUES (?, ?, ?)", [(name, *found) for name, found in _found(connection)]
    )


def changed(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that differ from their stored sums.

    All are read in one transaction, since another process may write meanwhile.
    """
    connection.execute("BEGIN")
    try:
        stored = {name: (rows, total) for name, rows, total in connection.execute("SELECT * FROM sums")}
        writes = stored.get(_WRITES, (0, 0))[0]
        found = {**dict(_found(connection)), _WRITES: (writes, -writes)}
    finally:
        connection.rollback()
    return sorted(name for name in {*stored, *found} if stored.get(name) != found.get(name))


def count_write(connection: sqlite3.Connection) -> int:
    """Count one more transaction, from within it, and return how many there are."""
    connection.execute("UPDATE sums SET rows = rows + 1, sum = sum - 1 WHERE name = ?", (_WRITES,))
    return writes(connection)


def writes(connection: sqlite3.Connection) -> int:
    """Return how many transactions a database with sums holds."""
    return int(connection.execute("SELECT rows FROM sums WHERE name = ?", (_WRITES,)).fetchone()[0])


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        f"SELECT name FROM {_SCHEMA} WHERE type = 'table' AND name != 'sums' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in rows]


def _found(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[int, int]]]:
    """Count the rows of each table and of the schema, and add up their hashes."""
    schema = f"SELECT type, name, tbl_name, sql FROM {_SCHEMA} WHERE name NOT LIKE 'sqlite_%'"
    queries = {name: f"SELECT * FROM {name} NOT INDEXED" for name in _tables(connection)}
    for name, query in {**queries, _SCHEMA: schema}.items():
        rows = total = 0
        for row in connection.execute(query):
            rows, total = rows + 1, total + row_hash(*row)
        yield name, (rows, total & _MASK)
