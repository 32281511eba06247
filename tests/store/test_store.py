import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kingyo.core.types import Evaluation, ItemScore
from kingyo.errors import KingyoError
from kingyo.store import DATABASE, RunStore, database
from kingyo.store.run_store import VERSION
from tests.stores import SPLITS, begun, query, refused, scores, trial


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        (stored,) = store.add_trials("main", 0, [trial(0)])
    with pytest.raises(KingyoError, match="disk is full"), filled(tmp_path) as store:
        store.record(stored.id, "fit", Evaluation(failure="x" * 1_000_000))
    with RunStore.read(tmp_path / "run") as store:
        assert store.trials("main") == [stored]
        assert store.evaluation(stored.id, "fit") is None


@contextmanager
def filled(folder: Path) -> Iterator[RunStore]:
    """The run of the folder in a database that may not grow."""
    with RunStore.open(folder / "run") as store:
        store._db.execute("PRAGMA max_page_count = 1")  # pyright: ignore[reportPrivateUsage]
        yield store


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read_can_be_shown(tmp_path: Path) -> None:
    begun(tmp_path / "run").close()
    (tmp_path / "run").chmod(0o500)
    with RunStore.read(tmp_path / "run") as store:
        assert store.items() == SPLITS
        assert store.status() == "stopped"
    (tmp_path / "run").chmod(0o700)


def test_a_run_that_cannot_be_set_up_leaves_no_folder(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run")
    store._db.execute("PRAGMA max_page_count = 1")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(KingyoError, match="disk is full"), store:
        store.begin({"name": "x" * 1_000_000}, {})
    assert not (tmp_path / "run").exists()


def test_what_is_stored_comes_back_the_same(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        stored = store.add_trials("main", 0, [trial(0), trial(1)])
        store.record(
            stored[0].id, "fit", Evaluation(scores=scores(1.0, 0.25), build_seconds=1, score_seconds=2)
        )
        store.record(stored[1].id, "fit", Evaluation(failure="NaN in model.norm.weight"))
        store.set_winner("main", stored[0].id)
    with RunStore.read(tmp_path / "run") as store:
        assert store.items() == SPLITS
        assert store.trials("main") == stored
        assert stored[1].asked == trial(1).asked
        first = store.evaluation(stored[0].id, "fit")
        assert first == Evaluation(scores=scores(1.0, 0.25), build_seconds=1, score_seconds=2)
        assert store.evaluation(stored[1].id, "fit") == Evaluation(failure="NaN in model.norm.weight")
        assert store.evaluation(stored[0].id, "test") is None
        assert store.winner("main") == stored[0]
        assert [(each.n, each.mean) for each in store.summaries("fit")] == [(2, 0.625), (0, None)]
        assert store.item_evaluations() == 2


def test_same_recipe_is_found_only_when_it_succeeded_on_that_split(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        stored = store.add_trials("main", 0, [trial(0, "a"), trial(1, "b"), trial(2, "b")])
        store.record(stored[0].id, "fit", Evaluation(failure="crash"))
        store.record(stored[1].id, "fit", Evaluation(scores=scores(1.0)))
        assert store.same_recipe("a", "fit", but=stored[2].id) == []
        assert store.same_recipe("b", "fit", but=stored[2].id) == [stored[1].id]
        assert store.same_recipe("b", "fit", but=stored[1].id) == []
        assert store.same_recipe("b", "test", but=stored[2].id) == []


def test_an_evaluation_may_come_in_parts(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        one, two = store.add_trials("main", 0, [trial(0), trial(1)])
        first, second = scores(1.0, 0.25)
        store.record(one.id, "fit", Evaluation(scores=(second,), build_seconds=1, score_seconds=2))
        store.record(one.id, "fit", Evaluation(scores=(first,), copied_from=two.id))
        assert store.evaluation(one.id, "fit") == Evaluation(
            scores=(first, second), build_seconds=1, score_seconds=2
        )
        assert store.scores("main", "fit") == {one.id: {first.item: 1.0, second.item: 0.25}}
        assert store.costs("main", "fit") == {one.id: (1, 3.0)}
        assert store.costs("main", "fit", batch=1) == {}
        with pytest.raises(sqlite3.IntegrityError):
            store.record(one.id, "fit", Evaluation(scores=(first,)))
        store.record(one.id, "fit", Evaluation(failure="crash"), n_items=3)
        assert store.costs("main", "fit")[one.id][0] == 4
        failed = store.evaluation(one.id, "fit")
        assert failed is not None
        assert (failed.failure, failed.scores) == ("crash", ())
        assert [(each.n, each.mean) for each in store.summaries("fit")] == [(2, None)]


def test_an_evaluation_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        stored = store.add_trials("main", 0, [trial(0)])
        broken = (*scores(1.0), ItemScore(item="no such item", score=1.0, answer=""))
        with pytest.raises(sqlite3.IntegrityError):
            store.record(stored[0].id, "fit", Evaluation(scores=broken))
        assert store.evaluation(stored[0].id, "fit") is None


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    for folder in (tmp_path / "run", tmp_path / "run" / "precious.txt"):
        with pytest.raises(KingyoError, match="other files"):
            RunStore.create(folder)
    with begun(tmp_path / "my run"), pytest.raises(KingyoError, match=r"kingyo resume '\S+/my run'"):
        RunStore.create(tmp_path / "my run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious.txt"]


def test_no_run_in_the_folder(tmp_path: Path) -> None:
    for opening in (RunStore.open, RunStore.read):
        with pytest.raises(KingyoError, match="no such folder"):
            opening(tmp_path / "none")
        with pytest.raises(KingyoError, match="a folder without one"):
            opening(tmp_path)


def test_a_second_process_is_locked_out_but_may_look(tmp_path: Path) -> None:
    begun(tmp_path / "run").close()
    code = (
        "import sys, pathlib; from kingyo.store import RunStore\n"
        "store = RunStore.open(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(KingyoError, match="another process"):
            RunStore.open(tmp_path / "run")
        with RunStore.read(tmp_path / "run") as store:
            assert store.status() == "running"
        os.kill(other.pid, signal.SIGKILL)
    with RunStore.read(tmp_path / "run") as store:
        assert store.status() == "stopped"
    RunStore.open(tmp_path / "run").close()


def test_a_damaged_database_is_reported_and_unchanged(tmp_path: Path) -> None:
    begun(tmp_path / "run").close()
    (tmp_path / "run" / DATABASE).write_bytes(b"this is no database, " * 500)
    assert "sound SQLite database" in refused(tmp_path / "run")


@pytest.mark.parametrize("tables", ["", "CREATE TABLE notes (a)"])
def test_a_foreign_database_is_reported_and_unchanged(tmp_path: Path, tables: str) -> None:
    path = tmp_path / "run.db"
    path.touch()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(tables)
    assert refused(tmp_path).startswith(f"{path if tables else tmp_path}: ")


@pytest.mark.parametrize("version", [VERSION + 1, VERSION - 1])
def test_a_database_of_an_unknown_version_is_refused(tmp_path: Path, version: int) -> None:
    begun(tmp_path / "run").close()
    query(tmp_path / "run", f"PRAGMA user_version = {version}")
    assert f"received version {version}" in refused(tmp_path / "run")


def test_an_interrupt_within_a_function_of_sqlite_stays_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, row_hash = list[type[KeyboardInterrupt]](), database.row_hash

    def interrupted(*values: object) -> int:
        if pending:
            raise pending.pop()
        return row_hash(*values)

    monkeypatch.setattr(database, "row_hash", interrupted)
    with begun(tmp_path / "run") as store:
        pending.append(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            store.set_fact("name", "lost")
        assert store.fact("name") != "lost"
        store.set_fact("name", "kept")
        assert store.fact("name") == "kept"
