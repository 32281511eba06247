"""A run database that lost something or in which a bit has flipped: it is refused, or the loss is named."""

import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kingyo.core.types import Evaluation, Outcome
from kingyo.store import DATABASE, RunStore
from kingyo.store.run_store import note_writes, noted_writes
from tests.stores import begun, query, refused, scores, trial

LOG = f"{DATABASE}-wal"


def filled(folder: Path) -> RunStore:
    """A run with a line in each table, and three writes after the last checkpoint."""
    store = begun(folder)
    trials = store.add_trials("main", 0, [trial(0, "recipe zero"), trial(1, "recipe one")])
    store.record(trials[0].id, "fit", Evaluation(scores=scores(0.375, 1)))
    store.add_outcomes({trials[0].id: Outcome(trial=trials[0].asked, value=0.6875)})
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # pyright: ignore[reportPrivateUsage]
    store.record(trials[1].id, "fit", Evaluation(scores=scores(1), score_seconds=2))
    store.record(trials[1].id, "validation", Evaluation(failure="crash"))
    store.set_winner("main", trials[0].id)
    return store


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A run that was closed: all is in run.db."""
    filled(tmp_path / "closed").close()
    assert not (tmp_path / "closed" / LOG).exists()
    return tmp_path / "closed"


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a run as its process leaves them when it is killed."""
    with filled(tmp_path / "living"):
        return Path(shutil.copytree(tmp_path / "living", tmp_path / "killed"))


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def place_of(path: Path, needle: bytes) -> int:
    content = path.read_bytes()
    assert content.count(needle) == 1
    return content.index(needle)


def number(value: float) -> bytes:
    return struct.pack(">d", value)


@pytest.mark.parametrize(
    ("value", "table"),
    [
        (number(0.375), "scores"),
        (number(0.6875), "outcomes"),
        (b'"running"', "facts"),
        ('"prompt":"2は?"'.encode(), "items"),
        (b'"ga"', "searches"),
        (b"crash", "parts"),
    ],
)
def test_a_flipped_bit_of_a_value_is_refused_and_its_table_named(
    closed: Path, value: bytes, table: str
) -> None:
    path = closed / DATABASE
    flip(path, place_of(path, value) + len(value) - 2)
    assert f"(table {table})" in refused(closed)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM scores WHERE trial = 2",
        "DELETE FROM sums WHERE name = 'scores'",
        "UPDATE scores SET score = 1 - score, answer = 'another'",
        "INSERT INTO scores VALUES (2, 'fit', 0, 'i1', 1, '', 0, NULL)",
        "UPDATE sums SET sum = sum + 1 WHERE name = 'scores'",
    ],
)
def test_missing_or_foreign_rows_are_refused(closed: Path, change: str) -> None:
    with closing(sqlite3.connect(closed / DATABASE)) as connection, connection:
        connection.execute(change)
    assert "(table scores)" in refused(closed)


def test_a_flipped_bit_of_an_index_is_refused(closed: Path) -> None:
    ((size,),) = query(closed, "PRAGMA page_size")
    ((page,),) = query(closed, "SELECT rootpage FROM sqlite_master WHERE name = 'trials_by_recipe'")
    start = size * (page - 1)
    at = (closed / DATABASE).read_bytes().index(b"recipe zero", start)
    assert at < start + size
    flip(closed / DATABASE, at)
    assert "sound SQLite database" in refused(closed)


def test_a_flipped_bit_of_the_schema_is_refused(closed: Path) -> None:
    flip(closed / DATABASE, place_of(closed / DATABASE, b"value REAL, objectives") + 1)
    assert refused(closed)


def test_a_killed_run_has_lost_nothing(killed: Path) -> None:
    for opening in (RunStore.read, RunStore.open, RunStore.read):
        with opening(killed) as store:
            assert store.lost is None
            assert store.evaluation(2, "validation") == Evaluation(failure="crash")


def frames(log: Path) -> range:
    """Where the frames of a log of pages of 4,096 bytes begin."""
    return range(32, log.stat().st_size, 24 + 4096)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "last page": (lambda log: flip(log, log.stat().st_size - 1), "last write "),
    "last commit": (lambda log: flip(log, frames(log)[-1] + 7), "last write "),
    "salt of the last page": (lambda log: flip(log, frames(log)[-1] + 8), "last write "),
    "first page": (lambda log: flip(log, frames(log)[0] + 99), "last 3 writes "),
    "header": (lambda log: flip(log, 17), "last 3 writes "),
    "torn": (lambda log: log.write_bytes(log.read_bytes()[: frames(log)[-1] + 999]), "last write "),
    "empty": (lambda log: log.write_bytes(b""), "last 3 writes "),
    "deleted": (lambda log: log.unlink(), "last 3 writes "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_losses_of_a_damaged_log_are_named_until_the_run_continues(killed: Path, damage: str) -> None:
    spoil, says = DAMAGES[damage]
    spoil(killed / LOG)
    for opening in (RunStore.read, RunStore.read, RunStore.open):
        with opening(killed) as store:
            assert store.lost is not None and says in store.lost
            assert store.evaluation(1, "fit") == Evaluation(scores=scores(0.375, 1))
            assert store.winner("main") is None
    with RunStore.read(killed) as store:
        assert store.lost is None


def test_a_run_that_lost_its_start_with_the_log_is_not_new(tmp_path: Path) -> None:
    with begun(tmp_path / "living"):
        shutil.copytree(tmp_path / "living", tmp_path / "killed")
    (tmp_path / "killed" / LOG).unlink()
    reason = refused(tmp_path / "killed")
    assert "The last 3 writes to run.db got lost" in reason
    assert "are safe" not in reason


def test_an_older_copy_of_the_database_is_named(closed: Path, killed: Path) -> None:
    shutil.copy(killed / DATABASE, closed)
    with RunStore.read(closed) as store:
        assert store.lost is not None and "an older copy" in store.lost


def test_a_process_killed_within_a_transaction_lost_nothing(tmp_path: Path) -> None:
    with filled(tmp_path / "living") as store, store._transaction():  # pyright: ignore[reportPrivateUsage]
        store._db.execute("PRAGMA cache_size = 1")  # pyright: ignore[reportPrivateUsage]
        before = (tmp_path / "living" / LOG).stat().st_size
        store._db.execute("UPDATE facts SET value = ?", ("x" * 1_000_000,))  # pyright: ignore[reportPrivateUsage]
        assert (tmp_path / "living" / LOG).stat().st_size > before, "pages of it are in the log"
        shutil.copytree(tmp_path / "living", tmp_path / "killed")
    with RunStore.read(tmp_path / "killed") as store:
        assert store.lost is None and store.fact("status") == "running"


def test_a_write_lost_in_a_killed_commit_is_named(killed: Path) -> None:
    with (killed / "run.lock").open("r+") as lock:
        note_writes(lock, noted_writes(killed) + 1)
    with RunStore.read(killed) as store:
        assert store.lost is not None and "not finished when the run was stopped" in store.lost
    with RunStore.open(killed):
        pass
    with RunStore.read(killed) as store:
        assert store.lost is None


@pytest.mark.parametrize("note", [b"", b"no number at all", b"99 00000000\n"])
def test_a_damaged_write_counter_is_ignored(closed: Path, note: bytes) -> None:
    (closed / "run.lock").write_bytes(note)
    with RunStore.read(closed) as store:
        assert store.lost is None
    RunStore.open(closed).close()


def test_a_run_can_be_read_while_another_process_writes(tmp_path: Path) -> None:
    with filled(tmp_path / "run") as store:
        store.set_fact("n", 0)
    code = (
        "import sys, pathlib; from kingyo.store import RunStore\n"
        "with RunStore.open(pathlib.Path(sys.argv[1])) as store:\n"
        "    for n in range(1, 10**9):\n"
        "        store.set_fact('n', n)\n"
        "        if n == 1: print('writes', flush=True)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == b"writes\n"
            counts: list[int] = []
            while len(set(counts)) < 20:
                with RunStore.read(tmp_path / "run") as store:
                    assert store.lost is None
                    counts.append(int(str(store.fact("n"))))
        finally:
            other.kill()
    assert counts == sorted(counts)
