"""Choices of people between two pictures of a run, in a database beside the run's own.

The run's database belongs to the process that works on the run; people may choose meanwhile. Each choice
is on the disk when ``add`` returns.
"""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from kingyo.core.types import Split
from kingyo.store.database import Database, DatabaseFile

CHOICES = "ratings.db"
Verdict = Literal["left", "right", "tie", "skip"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_FILE = DatabaseFile(
    name=CHOICES,
    tables="""
    CREATE TABLE choices (
        id INTEGER PRIMARY KEY, rater TEXT NOT NULL, split TEXT NOT NULL, item TEXT NOT NULL,
        left_model TEXT NOT NULL, right_model TEXT NOT NULL,
        left_picture TEXT NOT NULL, right_picture TEXT NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('left', 'right', 'tie', 'skip')),
        seconds REAL NOT NULL, pair TEXT NOT NULL, chosen_at REAL NOT NULL, undone_at REAL);
    CREATE UNIQUE INDEX choices_once ON choices (rater, pair) WHERE undone_at IS NULL;
    """,
    version=1,
    pragmas=("synchronous = EXTRA",),
    restore="Restore the file from a copy, or move it away and rate again.",
    retry="Make the run folder writable, or make room on its disk. Stored choices are kept.",
)


@dataclass(frozen=True)
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
        """A name of item and pictures that does not depend on their sides."""
        return pair_name(self.item, self.left_picture, self.right_picture)


_COLUMNS = ", ".join(field.name for field in fields(StoredChoice))


def pair_name(item: str, one: str, other: str) -> str:
    """Return a name of two pictures of an item that does not depend on their order."""
    return sha256("\n".join((item, *sorted((one, other)))).encode()).hexdigest()[:24]


class ChoiceLog(Database):
    """The choices of a run; by default for writing. Several processes and threads may use one file."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        super().__init__(folder, _FILE, writes=writes)

    def add(self, choice: StoredChoice) -> bool:
        """Store a choice. Return False if the rater has judged this pair already; the first choice counts."""
        values = (*astuple(choice), choice.pair, time.time())
        return self._write(
            f"INSERT OR IGNORE INTO choices ({_COLUMNS}, pair, chosen_at) VALUES (?{', ?' * 10})", values
        ) > 0  # fmt: skip

    def undo(self, rater: str, split: Split) -> StoredChoice | None:
        """Mark the last choice of a rater on a split as undone, and return it; None if there is none."""
        with self._explained(), self._transaction():
            row = self._db.execute(
                f"SELECT id, {_COLUMNS} FROM choices WHERE rater = ? AND split = ? AND undone_at IS NULL"
                " ORDER BY id DESC LIMIT 1",
                (rater, split),
            ).fetchone()
            if row is not None:
                self._db.execute("UPDATE choices SET undone_at = ? WHERE id = ?", (time.time(), row[0]))
        return None if row is None else StoredChoice(*row[1:])

    def undone(self, rater: str, pair: str) -> int:
        """Return how often a rater took back a choice between two pictures."""
        query = "SELECT COUNT(*) FROM choices WHERE rater = ? AND pair = ? AND undone_at IS NOT NULL"
        return int(self._rows(query, (rater, pair))[0][0])

    def choices(self) -> tuple[StoredChoice, ...]:
        rows = self._rows(f"SELECT {_COLUMNS} FROM choices WHERE undone_at IS NULL ORDER BY id")
        return tuple(StoredChoice(*row) for row in rows)


def read_choices(folder: Path) -> tuple[StoredChoice, ...]:
    """Return the choices of a run folder that were not undone, oldest first; empty without any."""
    if not (folder / CHOICES).exists():
        return ()
    with ChoiceLog(folder, writes=False) as log:
        return log.choices() if log.n_writes else ()
