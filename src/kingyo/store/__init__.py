"""The run database: one SQLite file that is the whole state of a run.

It stores searches, trials, evaluations, item scores and answers, and commits each fact at once, so that a
process killed at any instant loses only the evaluation in flight. It knows no algorithm, no model, no recipe
language: a recipe is a JSON text with a hash.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from pydantic import TypeAdapter, ValidationError

from kingyo.errors import KingyoError
from kingyo.io.files import put_in_place
from kingyo.store.database import (
    DATABASE,
    MIGRATIONS,
    check,
    clear_errors,
    connect,
    connect_to_look,
    decoded,
    lost_writes,
    migrate,
    migrated_copy,
    numbers,
    removed_after_error,
    require,
    require_new,
    require_tables,
    schema_version,
    unusable,
)
from kingyo.store.evaluations import EvaluationLog
from kingyo.store.lock import acquire, is_locked, noted_writes
from kingyo.store.media import keep_media, kept
from kingyo.store.records import EvaluationRow, NewTrial, StoredOutcome, StoredTrial
from kingyo.store.sums import watch
from kingyo.types import SPLITS, Genome, Item, Split, Trial

__all__ = [
    "DATABASE",
    "EvaluationRow",
    "NewTrial",
    "RunStore",
    "StoredOutcome",
    "StoredTrial",
]


class RunStore(EvaluationLog):
    """The database of one run folder. Use ``create``, ``open`` or ``read``, then as a context manager.

    Attributes:
        folder: of the run.
        lost: a sentence on stored writes that could not be found when the run was opened; None if all were.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, lock: IO[str] | None, lost: str | None = None
    ) -> None:
        super().__init__(connection, lock, folder)
        self.lost = lost
        if lock is not None:
            now = time.time()
            with self._saved():
                row = self._db.execute(
                    "INSERT INTO sessions (pid, started_at, seen_at) VALUES (?, ?, ?)",
                    (os.getpid(), now, now),
                )
            self._session = row.lastrowid

    @classmethod
    def create(cls, folder: Path) -> RunStore:
        """Make a new run folder and its database.

        Raises:
            KingyoError: the folder exists and is not empty, or cannot be written.
        """
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
    def open(cls, folder: Path) -> RunStore:
        """Open an existing run to go on with it; one process at a time.

        Raises:
            KingyoError: no run there, another process has it, or the database is damaged or too new.
        """
        require(folder)
        return cls._open(folder)

    @classmethod
    def _open(cls, folder: Path, is_new: bool = False) -> RunStore:
        with ExitStack() as stack:
            lock = stack.enter_context(acquire(folder))
            stack.enter_context(clear_errors(folder))
            if is_new and not (folder / DATABASE).exists():
                stack.enter_context(removed_after_error(folder))
            lost = None if is_new else cls._checked(folder)
            connection = stack.enter_context(closing(connect(folder / DATABASE)))
            migrate(connection, folder)
            watch(connection)
            store = cls(folder, connection, lock, lost)
            stack.pop_all()
        return store

    @staticmethod
    def _checked(folder: Path) -> str | None:
        """Check that a run can go on, with its media, and write nothing.

        Return a sentence on lost writes, if any.
        """
        noted = noted_writes(folder)
        with closing(connect_to_look(folder)) as connection:
            check(connection, folder)
            lost = lost_writes(connection, folder, noted)
            if lost is not None:
                require_tables(connection, folder, lost)
            if schema_version(connection, folder) > 0:
                rows = connection.execute("""SELECT content FROM items WHERE INSTR(content, '"media":[')""")
                for media in {each for (content,) in rows for each in _item(content, folder).media}:
                    media.read()
        return lost

    @classmethod
    def read(cls, folder: Path) -> RunStore:
        """Open an existing run only to look at it, also while another process works on it."""
        require(folder)
        with ExitStack() as stack:
            stack.enter_context(clear_errors(folder))
            noted = noted_writes(folder) - is_locked(folder)  # the last one is in flight
            connection = stack.enter_context(closing(connect_to_look(folder)))
            check(connection, folder)
            lost = lost_writes(connection, folder, noted)
            require_tables(connection, folder, lost)
            is_old = schema_version(connection, folder) < len(MIGRATIONS)
            if not is_old:
                stack.pop_all()
            else:
                connection = migrated_copy(connection, folder)
            connection.execute("PRAGMA query_only = 1")
        return cls(folder, connection, None, lost)

    def close(self) -> None:
        """Give the lock and the file back; safe to call twice."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        is_of_database = isinstance(error, sqlite3.Error)
        named = unusable(self.folder, error, was_checked=True) if is_of_database else None
        self.close()
        if named is not None:
            raise named from error

    # Facts about the run

    def begin(self, facts: Mapping[str, object], splits: Mapping[Split, Sequence[Item]]) -> None:
        """Store what the run is made of, once and for all: facts and items, in one transaction.

        Media are copied into the run folder before.

        Raises:
            KingyoError: media cannot be read, or files cannot be written; the run folder is gone again then.
        """
        rows = [
            (item.id, split, position, _item_json(item))
            for split, items in splits.items()
            for position, item in enumerate(items)
        ]
        with clear_errors(self.folder), removed_after_error(self.folder):
            keep_media(
                (each for items in splits.values() for item in items for each in item.media), self.folder
            )
            with self._saved():
                self._db.executemany(
                    "INSERT INTO facts VALUES (?, ?)",
                    [(key, json.dumps(value)) for key, value in facts.items()],
                )
                self._db.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)

    def set_fact(self, key: str, value: object) -> None:
        """Store a JSON value under a key."""
        with self._saved():
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value)))

    def reopen(self, facts: Mapping[str, object], winners: Mapping[str, int | None]) -> None:
        """Store facts and the winners of searches in one transaction; None lets a winner be picked anew."""
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        named = [(trial, name) for name, trial in winners.items()]
        with self._saved():
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)
            self._db.executemany("UPDATE searches SET winner = ? WHERE name = ?", named)

    def begin_again(self, archive: Path, facts: Mapping[str, object], forgotten: Iterable[str] = ()) -> None:
        """Copy the database to another file, then remove all trials and scores. Items and facts stay.

        The copy is written whole or not at all. One transaction after it makes all the changes.

        Args:
            archive: the file; it does not exist yet.
            facts: to store.
            forgotten: keys of facts to remove.
        """
        partial = archive.with_name(f".{archive.name}")
        partial.unlink(missing_ok=True)
        try:
            self._db.execute("VACUUM INTO ?", (str(partial),))
            put_in_place(partial, archive)
        finally:
            partial.unlink(missing_ok=True)
        self._synced = -math.inf  # what follows is on the disk for good
        with self._saved():
            self._db.execute("UPDATE searches SET winner = NULL")
            for table in ("outcomes", "scores", "parts", "trials", "searches"):
                self._db.execute(f"DELETE FROM {table}")
            self._db.execute("DELETE FROM sessions WHERE id IS NOT ?", (self._session,))
            self._db.executemany("DELETE FROM facts WHERE key = ?", [(key,) for key in forgotten])
            rows = [(key, json.dumps(value)) for key, value in facts.items()]
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def fact(self, key: str) -> object:
        """Return the JSON value under a key, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else decoded(row[0], object, f"the fact {key}")

    def status(self) -> str:
        """Return ``running``, ``stopped`` (killed or interrupted: can be resumed), or ``finished``."""
        stored = str(self.fact("status"))
        if stored == "finished" or self._lock is not None or is_locked(self.folder):
            return stored
        return "stopped"

    def seconds(self) -> float:
        """Working time of all sessions so far."""
        return float(
            self._db.execute("SELECT COALESCE(SUM(seen_at - started_at), 0) FROM sessions").fetchone()[0]
        )

    # Items

    def items(self) -> dict[Split, tuple[Item, ...]]:
        """Return the splits in their stored order."""
        found: dict[Split, list[Item]] = {split: [] for split in SPLITS}
        for split, content in self._db.execute("SELECT split, content FROM items ORDER BY split, position"):
            found[split].append(_item(content, self.folder))
        return {split: tuple(items) for split, items in found.items()}

    # Searches and trials

    def add_search(self, name: str, description: Mapping[str, object]) -> None:
        """Declare a search; the caller describes what it was made of, such as its strategy and axes."""
        with self._saved():
            self._db.execute(
                "INSERT INTO searches (name, position, description)"
                " VALUES (?, (SELECT COUNT(*) FROM searches), ?)",
                (name, json.dumps(description, ensure_ascii=False)),
            )

    def searches(self) -> dict[str, dict[str, object]]:
        """Return the descriptions of all searches, in the order of their declaration."""
        rows = self._db.execute("SELECT name, description FROM searches ORDER BY position")
        return {name: decoded(text, dict, f"the description of search {name}") for name, text in rows}

    def set_winner(self, search: str, trial: int) -> None:
        """Name the trial (its id) that won a search."""
        with self._saved():
            self._db.execute("UPDATE searches SET winner = ? WHERE name = ?", (trial, search))

    def winner(self, search: str) -> StoredTrial | None:
        """Return the winner of a search, if it is picked."""
        row = self._db.execute("SELECT winner FROM searches WHERE name = ?", (search,)).fetchone()
        return None if row is None or row[0] is None else self.trial(row[0])

    def add_trials(
        self,
        search: str,
        batch: int,
        trials: Iterable[NewTrial],
        told: int = 0,
    ) -> list[StoredTrial]:
        """Log one ask: all its trials in one transaction.

        Args:
            search: whose strategy asked.
            batch: number of the ask.
            trials: what it asked for.
            told: how many outcomes it had been told by then.
        """
        now = time.time()
        with self._saved():
            self._db.executemany(
                "INSERT INTO trials (search, number, batch, name, genome, parents, recipe, recipe_hash,"
                " asked_at, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(search, new.asked.number, batch, *_values(new), now, told) for new in trials],
            )
        rows = self._db.execute(f"{_TRIAL} WHERE search = ? AND batch = ? ORDER BY id", (search, batch))
        return [_trial(row) for row in rows]

    def trials(self, search: str | None = None) -> list[StoredTrial]:
        """Return the trials of one search, or of all, in the order of asking."""
        rows = self._db.execute(
            f"{_TRIAL} WHERE ?1 IS NULL OR search = ?1 ORDER BY id",
            (search,),
        )
        return [_trial(row) for row in rows]

    def trial(self, trial: int) -> StoredTrial:
        """Return one trial by its id."""
        row = self._db.execute(f"{_TRIAL} WHERE id = ?", (trial,)).fetchone()
        if row is None:
            raise KingyoError(
                "trial",
                expected="the id of a stored trial",
                received=str(trial),
                remedy="Take an id that `trials` returns.",
            )
        return _trial(row)


_TRIAL = "SELECT id, search, batch, name, number, genome, parents, recipe, recipe_hash, told FROM trials"


_ITEM = TypeAdapter(Item)


def _item_json(item: Item) -> str:
    """Return an item as it is stored: of its media hashes and types, and nothing where it has none."""
    left_out = {"media": {"__all__": {"path", "content"}}} if item.media else {"media"}
    return _ITEM.dump_json(item, exclude=cast("set[str]", left_out)).decode()


def _item(content: str, folder: Path) -> Item:
    try:
        item = _ITEM.validate_json(content)
        if not item.media:
            return item
        return replace(item, media=tuple(kept(each, folder) for each in item.media))
    except ValidationError as error:
        raise sqlite3.DataError(f"an item is not as it was written: {content[:40]!r}") from error


def _values(new: NewTrial) -> tuple[str | None, str, str, str, str]:
    genome, parents = json.dumps(new.asked.genome), json.dumps(new.asked.parents)
    return new.name, genome, parents, new.recipe, new.recipe_hash


def _trial(row: tuple[int, str, int, str | None, int, str, str, str, str, int]) -> StoredTrial:
    number, parents = row[4], numbers(row[6], f"parents of trial {row[0]}")
    genome: Genome = numbers(row[5], f"the genome of trial {row[0]}")
    return StoredTrial(
        id=row[0],
        search=row[1],
        batch=row[2],
        name=row[3],
        asked=Trial(number=number, genome=genome, parents=tuple(map(int, parents))),
        recipe=row[7],
        recipe_hash=row[8],
        told=row[9],
    )
