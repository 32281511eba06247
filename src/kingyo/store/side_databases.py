"""Databases beside that of a run, whose process alone writes it: choices of people, and measured weights.

Each row is committed when it is added: a choice, or the sums of a tensor. Keys of measurements name the files
that the numbers come from, as they were when they were opened: a changed file has another key.
"""

import time
from dataclasses import astuple, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Literal

from kingyo.core.types import Split
from kingyo.errors import KingyoError
from kingyo.store.database import Database, DatabaseFile

CHOICES = "ratings.db"
Verdict = Literal["left", "right", "tie", "skip"]
_CHOICES_FILE = DatabaseFile(
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
    """What a person said about two images of one item.

    Attributes:
        rater: name of the person.
        left_model, right_model: hashes of the recipes.
        left_image, right_image: hashes of the files, as they were shown.
        seconds: from the display of the pair to the choice.
    """

    rater: str
    split: Split
    item: str
    left_model: str
    right_model: str
    left_image: str
    right_image: str
    verdict: Verdict
    seconds: float = 0.0

    @property
    def pair(self) -> str:
        """A name of item and images that does not depend on their sides."""
        return pair_name(self.item, self.left_image, self.right_image)


# the table has the first names of its columns
_COLUMNS = ", ".join(field.name.replace("_image", "_picture") for field in fields(StoredChoice))


def pair_name(item: str, one: str, other: str) -> str:
    """Return a name of two images of an item that does not depend on their order."""
    return sha256("\n".join((item, *sorted((one, other)))).encode()).hexdigest()[:24]


class ChoiceLog(Database):
    """The choices of a run; by default for writing. Several processes and threads may use one file."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        super().__init__(folder, _CHOICES_FILE, writes=writes)

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
        """Return how often a rater took back a choice between two images."""
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


EVIDENCE = "evidence.db"
_EVIDENCE_FILE = DatabaseFile(
    name=EVIDENCE,
    tables="""
    CREATE TABLE sums_of_tensors (
        models TEXT NOT NULL, tensor TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (models, tensor)) WITHOUT ROWID;
    """,
    version=1,
    pragmas=("journal_mode = WAL", "synchronous = NORMAL"),  # a power loss costs tensors, not the file
    restore="Delete the file and run the command again, which measures everything anew.",
    retry="Choose another folder (--out), or make room on its disk. Stored measurements are kept.",
)


class EvidenceStore(Database):
    """Measurements of weights, by base and members. Several processes may use one file."""

    def __init__(self, folder: Path) -> None:
        """Open the measurements in a folder, and create both if they do not exist."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KingyoError(
                str(folder), "a folder that can be made", str(error), _EVIDENCE_FILE.retry
            ) from error
        super().__init__(folder, _EVIDENCE_FILE, writes=True)

    def add(self, models: str, tensor: str, content: bytes) -> None:
        """Store what was measured on a tensor; the first measurement counts."""
        self._write("INSERT OR IGNORE INTO sums_of_tensors VALUES (?, ?, ?)", (models, tensor, content))

    def get(self, models: str, tensor: str) -> bytes | None:
        query = "SELECT content FROM sums_of_tensors WHERE models = ? AND tensor = ?"
        return next((bytes(content) for (content,) in self._rows(query, (models, tensor))), None)

    def tensors(self, models: str) -> tuple[str, ...]:
        query = "SELECT tensor FROM sums_of_tensors WHERE models = ? ORDER BY tensor"
        return tuple(str(name) for (name,) in self._rows(query, (models,)))
