"""Databases of runs that tests edit."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kingyo.store import DATABASE
from kingyo.store.database import seal


@contextmanager
def edited(run: Path) -> Iterator[sqlite3.Connection]:
    """The database of a run, to edit as if kingyo had written it so: its sums are made to fit."""
    with closing(sqlite3.connect(run / DATABASE)) as connection, connection:
        yield connection
        seal(connection)
