"""What was measured on the weights of candidates, in a database of its own: a row for each tensor of a group.

Each row is committed when its tensor is measured, so a killed process loses one tensor. Keys name the files
that the numbers come from, as they were when they were opened: a changed file has another key.
"""

from __future__ import annotations

from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.store.database import Database, DatabaseFile

EVIDENCE = "evidence.db"
_FILE = DatabaseFile(
    name=EVIDENCE,
    tables="""
    CREATE TABLE sums_of_tensors (
        models TEXT NOT NULL, tensor TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (models, tensor)) WITHOUT ROWID;
    CREATE TABLE not_finite (model TEXT PRIMARY KEY, tensor TEXT NOT NULL) WITHOUT ROWID;
    """,
    version=1,
    pragmas=("journal_mode = WAL", "synchronous = NORMAL"),  # a power loss costs tensors, not the file
    restore="Delete the file and run the command again, which measures everything anew.",
    retry="Choose another folder (--out), or make room on its disk. Stored measurements are kept.",
)


class EvidenceStore(Database):
    """Measurements of weights. Several processes may use one file.

    Keys are texts that the caller makes: ``models`` names a base and members in their order, ``model`` one
    of them.
    """

    def __init__(self, folder: Path) -> None:
        """Open the measurements in a folder, and create both if they do not exist."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KingyoError(str(folder), "a folder that can be made", str(error), _FILE.retry) from error
        super().__init__(folder, _FILE, writes=True)

    def add(self, models: str, tensor: str, content: bytes) -> None:
        """Store what was measured on a tensor; the first measurement counts."""
        self._write("INSERT OR IGNORE INTO sums_of_tensors VALUES (?, ?, ?)", (models, tensor, content))

    def get(self, models: str, tensor: str) -> bytes | None:
        query = "SELECT content FROM sums_of_tensors WHERE models = ? AND tensor = ?"
        return next((bytes(content) for (content,) in self._rows(query, (models, tensor))), None)

    def tensors(self, models: str) -> tuple[str, ...]:
        query = "SELECT tensor FROM sums_of_tensors WHERE models = ? ORDER BY tensor"
        return tuple(str(name) for (name,) in self._rows(query, (models,)))

    def add_not_finite(self, model: str, tensor: str) -> None:
        """Store that a tensor of a model holds NaN or infinity."""
        self._write("INSERT OR IGNORE INTO not_finite VALUES (?, ?)", (model, tensor))

    def not_finite(self, model: str) -> str | None:
        rows = self._rows("SELECT tensor FROM not_finite WHERE model = ?", (model,))
        return next((str(name) for (name,) in rows), None)
