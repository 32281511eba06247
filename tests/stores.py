"""A run folder with splits, trials and scores, and databases that tests edit."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kingyo.core.types import Item, ItemScore, Trial
from kingyo.errors import KingyoError
from kingyo.store import DATABASE, RunStore, StoredTrial
from kingyo.store.database import seal

ITEMS = tuple(Item(id=f"i{n}", prompt=f"{n}は?", answer=str(n), choices=("a", "b")) for n in range(4))


SPLITS = {"fit": ITEMS[:2], "validation": ITEMS[2:3], "test": ITEMS[3:]}


def begun(folder: Path) -> RunStore:
    store = RunStore.create(folder)
    store.begin({"name": "x", "status": "running"}, SPLITS)
    store.add_search("main", {"strategy": "ga"})
    return store


def trial(number: int, recipe: str = "r") -> StoredTrial:
    return StoredTrial(
        asked=Trial(number=number, genome=(0.1, 1 / 3), parents=(0,) if number else ()),
        recipe="{}",
        recipe_hash=recipe,
    )


def scores(*values: float) -> tuple[ItemScore, ...]:
    return tuple(ItemScore(item=f"i{n}", score=value, answer="答え") for n, value in enumerate(values))


def refused(folder: Path) -> str:
    """Say why a run is not opened, neither to go on nor to look; neither changes it."""
    before = (folder / DATABASE).read_bytes()
    reasons: set[str] = set()
    for opening in (RunStore.open, RunStore.read):
        with pytest.raises(KingyoError) as caught:
            opening(folder)
        reasons.add(str(caught.value))
    assert (folder / DATABASE).read_bytes() == before
    (reason,) = reasons
    return reason


def query(run: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the database of a run, which another process may be writing."""
    with closing(sqlite3.connect(run / DATABASE, timeout=30)) as connection:
        return connection.execute(sql, values).fetchall()


@contextmanager
def edited(run: Path) -> Iterator[sqlite3.Connection]:
    """The database of a run, to edit as if kingyo had written it so: its sums are made to fit."""
    with closing(sqlite3.connect(run / DATABASE)) as connection, connection:
        yield connection
        seal(connection)
