"""Open the run database; store facts and items."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

from kingyo.errors import KingyoError
from kingyo.io.files import put_in_place
from kingyo.store.database import (
    OPTIONS,
    check,
    connect,
    connect_read_only,
    database_error,
    explained_errors,
    lost_writes,
    of_scout,
    removed_after_error,
    require,
    require_new,
    require_setup,
)
from kingyo.store.items import item_json, keep_media, read_item
from kingyo.store.schema import create_tables, schema_version, watch
from kingyo.store.transactions import acquire, is_locked, noted_writes
from kingyo.store.trial_log import TrialLog
from kingyo.types import DATABASE, SPLITS, Item, Split


class RunStore(TrialLog):
    """The database of one run folder. Open it with ``create``, ``open`` or ``read``; it is a context manager.

    Attributes:
        folder: run folder.
        lost: a sentence on stored writes that were missing when the run was opened, or None.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, lock: IO[str] | None, lost: str | None = None
    ) -> None:
        super().__init__(connection, lock, folder)
        self.lost = lost
        if lock is not None:
            now = time.time()
            with self._transaction():
                row = self._db.execute(
                    "INSERT INTO sessions (pid, started_at, seen_at) VALUES (?, ?, ?)",
                    (os.getpid(), now, now),
                )
            self._session = row.lastrowid

    @classmethod
    def create(cls, folder: Path) -> RunStore:
        """Create a run folder and its database."""
        require_new(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KingyoError(
                str(folder),
                expected="a folder that can be written",
                received=str(error),
                remedy="Choose a folder that you may write to with --run.",
            ) from error
        return cls._open(folder, is_new=True)

    @classmethod
    def open(cls, folder: Path, *, by_scout: bool = False) -> RunStore:
        """Open a run for writing; one process at a time. Only a scout opens its trial merges."""
        require(folder)
        return cls._open(folder, by_scout=by_scout)

    @classmethod
    def _open(cls, folder: Path, *, is_new: bool = False, by_scout: bool = False) -> RunStore:
        with ExitStack() as stack:
            lock = stack.enter_context(acquire(folder))
            stack.enter_context(explained_errors(folder))
            if is_new and not (folder / DATABASE).exists():
                stack.enter_context(removed_after_error(folder))
            lost = None if is_new else cls._checked(folder, by_scout)
            connection = stack.enter_context(closing(connect(folder / DATABASE)))
            create_tables(connection)
            watch(connection)
            store = cls(folder, connection, lock, lost)
            stack.pop_all()
        return store

    @staticmethod
    def _checked(folder: Path, by_scout: bool) -> str | None:
        """Check a run and its media without writing; return a sentence on lost writes, if any."""
        noted = noted_writes(folder)
        with closing(connect_read_only(folder)) as connection:
            check(connection, folder)
            lost = lost_writes(connection, folder, noted)
            if lost is not None:
                require_setup(connection, folder, lost)
            if schema_version(connection, folder) > 0:
                facts = connection.execute("SELECT key FROM facts WHERE key = ?", (OPTIONS,))
                if facts.fetchone() is not None and not by_scout:
                    raise of_scout(folder)
                rows = connection.execute("""SELECT content FROM items WHERE INSTR(content, '"media":[')""")
                for media in {media for (content,) in rows for media in read_item(content, folder).media}:
                    media.read()
        return lost

    @classmethod
    def read(cls, folder: Path) -> RunStore:
        """Open a run for reading, even while another process writes to it."""
        require(folder)
        with ExitStack() as stack:
            stack.enter_context(explained_errors(folder))
            noted = noted_writes(folder) - is_locked(folder)  # the last one may be in flight
            connection = stack.enter_context(closing(connect_read_only(folder)))
            check(connection, folder)
            lost = lost_writes(connection, folder, noted)
            require_setup(connection, folder, lost)
            stack.pop_all()
            connection.execute("PRAGMA query_only = 1")
        return cls(folder, connection, None, lost)

    def require_no_scout(self) -> None:
        """Raise a ``KingyoError`` if these are the trial merges of a scout."""
        if self.fact(OPTIONS) is not None:
            raise of_scout(self.folder)

    def close(self) -> None:
        """Close the database and release the lock; a second call does nothing."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        is_of_database = isinstance(error, sqlite3.Error)
        explained = database_error(self.folder, error, was_checked=True) if is_of_database else None
        self.close()
        if explained is not None:
            raise explained from error

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
        with explained_errors(self.folder), removed_after_error(self.folder):
            keep_media(media, self.folder)
            with self._transaction():
                self._write_facts(facts)
                self._db.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)

    def _write_facts(self, facts: Mapping[str, object]) -> None:
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def set_fact(self, key: str, value: object) -> None:
        """Store a JSON value under a key."""
        with self._transaction():
            self._write_facts({key: value})

    def reopen(self, facts: Mapping[str, object], winners: Mapping[str, int | None]) -> None:
        """Store facts and winners in one transaction."""
        with self._transaction():
            self._write_facts(facts)
            self._db.executemany(
                "UPDATE searches SET winner = ? WHERE name = ?",
                [(trial, name) for name, trial in winners.items()],
            )

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
            self._db.execute("DELETE FROM sessions WHERE id IS NOT ?", (self._session,))
            self._db.executemany("DELETE FROM facts WHERE key = ?", [(key,) for key in forgotten])
            self._write_facts(facts)

    def fact(self, key: str) -> object:
        """Return the JSON value under a key, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

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
        """Return the items of each split in their stored order."""
        items: dict[Split, list[Item]] = {split: [] for split in SPLITS}
        for split, content in self._db.execute("SELECT split, content FROM items ORDER BY split, position"):
            items[split].append(read_item(content, self.folder))
        return {split: tuple(each) for split, each in items.items()}

    def groups(self) -> dict[str, str]:
        """Return the id of each item that belongs together with others -> its ``Item.group``."""
        query = "SELECT id, json_extract(content, '$.group') AS label FROM items WHERE label IS NOT NULL"
        return dict(self._db.execute(query).fetchall())
