"""The tables of the run database, and upgrades of older databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.store.sums import SUMS, seal

DATABASE = "run.db"

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
UPGRADES = {7: "DROP TABLE states;"}
"""Version of a database -> the statements that make the next version of it."""


def schema_version(connection: sqlite3.Connection, folder: Path) -> int:
    """Return the version of a database; 0 if it has no tables of a run.

    Raises:
        KingyoError: the version is too old or too new.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version in (0, VERSION) or version in UPGRADES:
        return version
    raise KingyoError(
        str(folder / DATABASE),
        expected=f"a database of version {min(UPGRADES)} to {VERSION}",
        received=f"version {version}",
        remedy="Install the newer kingyo that wrote it."
        if version > VERSION
        else "Open it with the older kingyo that wrote it, or start a new run with `kingyo evolve`.",
    )


def upgrade(connection: sqlite3.Connection, folder: Path) -> None:
    """Create the tables, or upgrade older ones, in one transaction; then store the sums of all tables."""
    version = schema_version(connection, folder)
    if version == VERSION:
        return
    statements = "".join(UPGRADES[n] for n in range(version, VERSION)) if version else SCHEMA
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {VERSION};")
        seal(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def upgraded_copy(connection: sqlite3.Connection, folder: Path) -> sqlite3.Connection:
    """Return a copy in memory with the newest tables. The file is not changed."""
    copy = sqlite3.connect(":memory:")
    try:
        connection.backup(copy)
        upgrade(copy, folder)
    except BaseException:
        copy.close()
        raise
    return copy
