"""What was measured on the weights of candidates, in a database of its own: a row for each tensor of a group.

Each row is committed when its tensor is measured, so a killed process loses one tensor. Keys name the files
that the numbers come from, as they were when they were opened: a changed file has another key. Sums detect
lost and changed rows, as in a run's database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.store.database import EVIDENCE, check, connect, damaged, explained_errors, is_damage
from kingyo.store.schema import SUMS, DatabaseFile, count_write, create_tables, watch
from kingyo.store.transactions import CALLBACK_RAISED

_TABLES = f"""
    CREATE TABLE sums_of_tensors (
        models TEXT NOT NULL, tensor TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (models, tensor)) WITHOUT ROWID;
    CREATE TABLE not_finite (model TEXT PRIMARY KEY, tensor TEXT NOT NULL) WITHOUT ROWID;
    {SUMS}
"""
_FILE = DatabaseFile(
    name=EVIDENCE,
    tables=_TABLES,
    version=1,
    restore="Delete the file and run the command again, which measures everything anew.",
)


class EvidenceStore:
    """Measurements of weights. Several processes may use one file. It is a context manager.

    Keys are texts that the caller makes: ``models`` names a base and members in their order, ``model`` one
    of them.
    """

    def __init__(self, folder: Path) -> None:
        """Open the measurements in a folder, and create both if they do not exist."""
        self.path = folder / EVIDENCE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _error(folder, error) from error
        with ExitStack() as stack:
            stack.enter_context(_explained(folder))
            self._db = stack.enter_context(closing(connect(self.path)))
            self._db.execute("PRAGMA synchronous = NORMAL")  # a power loss costs tensors, not the file
            check(self._db, folder, _FILE)
            create_tables(self._db, _FILE)
            watch(self._db)
            stack.pop_all()

    def __enter__(self) -> EvidenceStore:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.close()

    def add(self, models: str, tensor: str, content: bytes) -> None:
        """Store what was measured on a tensor; the first measurement counts."""
        with self._transaction():
            row = (models, tensor, content)
            self._db.execute("INSERT OR IGNORE INTO sums_of_tensors VALUES (?, ?, ?)", row)

    def get(self, models: str, tensor: str) -> bytes | None:
        """Return what was measured on a tensor; None if it was not."""
        query = "SELECT content FROM sums_of_tensors WHERE models = ? AND tensor = ?"
        with _explained(self.path.parent):
            row = self._db.execute(query, (models, tensor)).fetchone()
        return None if row is None else bytes(row[0])

    def tensors(self, models: str) -> tuple[str, ...]:
        """Return the tensors that were measured."""
        query = "SELECT tensor FROM sums_of_tensors WHERE models = ? ORDER BY tensor"
        with _explained(self.path.parent):
            return tuple(str(name) for (name,) in self._db.execute(query, (models,)))

    def add_not_finite(self, model: str, tensor: str) -> None:
        """Store that a tensor of a model holds NaN or infinity."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO not_finite VALUES (?, ?)", (model, tensor))

    def not_finite(self, model: str) -> str | None:
        """Return a tensor of a model that holds NaN or infinity; None if none is known."""
        query = "SELECT tensor FROM not_finite WHERE model = ?"
        with _explained(self.path.parent):
            row = self._db.execute(query, (model,)).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with _explained(self.path.parent):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                with self._db:
                    yield
                    count_write(self._db)
            except sqlite3.OperationalError as error:
                if CALLBACK_RAISED in str(error):  # Ctrl-C within row_hash, which raises nothing else
                    raise KeyboardInterrupt from error
                raise


def _explained(folder: Path) -> AbstractContextManager[None]:
    return explained_errors(folder, _error)


def _error(folder: Path, error: Exception) -> KingyoError:
    if isinstance(error, sqlite3.Error) and is_damage(error):
        return damaged(folder, str(error), _FILE)
    return KingyoError(
        str(folder / EVIDENCE),
        expected="a file that can be read and written",
        received=str(error),
        remedy="Choose another folder (--out), or make room on its disk. Stored measurements are kept.",
    )
