"""Searches and trials: the tables ``searches`` and ``trials``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping

from kingyo.store.records import NewTrial, StoredTrial
from kingyo.store.transactions import OpenDatabase
from kingyo.types import Genome, Trial


class TrialLog(OpenDatabase):
    """Write and read searches and trials."""

    def add_search(self, name: str, description: Mapping[str, object]) -> None:
        """Store a new search with its description, such as strategy and axes."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO searches (name, position, description)"
                " VALUES (?, (SELECT COUNT(*) FROM searches), ?)",
                (name, json.dumps(description, ensure_ascii=False)),
            )

    def searches(self) -> dict[str, dict[str, object]]:
        """Return the descriptions of all searches by name, oldest first."""
        rows = self._db.execute("SELECT name, description FROM searches ORDER BY position")
        return {name: json.loads(text) for name, text in rows}

    def set_winner(self, search: str, trial: int) -> None:
        """Store the trial id of the winner of a search."""
        with self._transaction():
            self._db.execute("UPDATE searches SET winner = ? WHERE name = ?", (trial, search))

    def winner(self, search: str) -> StoredTrial | None:
        """Return the winner of a search, or None before it is picked."""
        row = self._db.execute("SELECT winner FROM searches WHERE name = ?", (search,)).fetchone()
        return None if row is None or row[0] is None else self.trial(row[0])

    def add_trials(
        self, search: str, batch: int, trials: Iterable[NewTrial], told: int = 0
    ) -> list[StoredTrial]:
        """Store the trials of one ask in one transaction."""
        now = time.time()
        with self._transaction():
            self._db.executemany(
                "INSERT INTO trials (search, number, batch, name, genome, parents, recipe, recipe_hash,"
                " asked_at, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(search, new.asked.number, batch, *_values(new), now, told) for new in trials],
            )
        rows = self._db.execute(f"{_TRIAL} WHERE search = ? AND batch = ? ORDER BY id", (search, batch))
        return [_trial(row) for row in rows]

    def trials(self, search: str | None = None) -> list[StoredTrial]:
        """Return the trials of one search, or of all, in the order of asking."""
        rows = self._db.execute(f"{_TRIAL} WHERE ?1 IS NULL OR search = ?1 ORDER BY id", (search,))
        return [_trial(row) for row in rows]

    def trial(self, trial: int) -> StoredTrial:
        """Return one trial by its id."""
        return _trial(self._db.execute(f"{_TRIAL} WHERE id = ?", (trial,)).fetchone())


_TRIAL = "SELECT id, search, batch, name, number, genome, parents, recipe, recipe_hash, told FROM trials"


def _values(new: NewTrial) -> tuple[str | None, str, str, str, str]:
    genome, parents = json.dumps(new.asked.genome), json.dumps(new.asked.parents)
    return new.name, genome, parents, new.recipe, new.recipe_hash


def _trial(row: tuple[int, str, int, str | None, int, str, str, str, str, int]) -> StoredTrial:
    genome: Genome = tuple(map(float, json.loads(row[5])))
    return StoredTrial(
        id=row[0],
        search=row[1],
        batch=row[2],
        name=row[3],
        asked=Trial(number=row[4], genome=genome, parents=tuple(json.loads(row[6]))),
        recipe=row[7],
        recipe_hash=row[8],
        told=row[9],
    )
