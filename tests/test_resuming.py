"""Resuming from noted states: the same run as one never stopped, and only what follows a note is replayed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.evolution import MAIN, Limits
from kingyo.store import DATABASE, RunStore
from kingyo.store.database import MIGRATIONS
from tests.databases import edited
from tests.fake_runs import Shuffled
from tests.noted_runs import MADE, made, noted
from tests.screened_runs import Model, begun, facts, journey, some_fail


def stopped(folder: Path, name: str, after: int, *, is_asynchronous: bool = False) -> Model:
    model = Model(some_fail, stop_after=after)
    with begun(folder) as store, pytest.raises(KeyboardInterrupt):
        noted(store, model, made(name), is_asynchronous=is_asynchronous).run()
    return model


def whole(folder: Path, name: str, *, is_asynchronous: bool = False) -> tuple[object, ...]:
    with begun(folder) as store:
        noted(store, Model(some_fail), made(name), is_asynchronous=is_asynchronous).run()
        return facts(store)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A run by item-gp that was stopped in its fifth generation."""
    stopped(tmp_path / "run", "item-gp", 25)
    return tmp_path / "run"


@pytest.mark.parametrize("is_asynchronous", [False, True])
@pytest.mark.parametrize("name", MADE)
def test_it_ends_as_the_run_never_stopped(tmp_path: Path, name: str, is_asynchronous: bool) -> None:
    wanted = whole(tmp_path / "whole", name, is_asynchronous=is_asynchronous)
    for after in (9, 24, 33):
        first = stopped(tmp_path / f"{after}", name, after, is_asynchronous=is_asynchronous)
        strategy = made(name)
        with RunStore.open(tmp_path / f"{after}") as store:
            n_known = len(store.trials(MAIN))
            model = Model(some_fail, before=first)
            noted(store, model, strategy, is_asynchronous=is_asynchronous).run()
            assert facts(store) == wanted
        assert strategy.n_restored == 1
        # The trials of the last ask are asked for once more, the others before it are not.
        assert strategy.n_asked <= 40 - n_known + strategy.batch


def test_with_several_in_flight_it_repeats_what_happened(tmp_path: Path) -> None:
    for after in (12, 21, 33):
        folder = tmp_path / f"{after}"
        with begun(folder) as store:
            runner = Shuffled(Model(stop_after=after), after)
            with pytest.raises(KeyboardInterrupt):
                noted(store, runner, made("item-gp"), is_asynchronous=True).run()
            asked, told = store.trials(MAIN), store.outcomes(MAIN)
        strategy = made("item-gp")
        with RunStore.open(folder) as store:
            noted(store, Shuffled(Model(), 5), strategy, is_asynchronous=True).run()
            assert store.trials(MAIN)[: len(asked)] == asked
            assert store.outcomes(MAIN)[: len(told)] == told
            assert len(store.outcomes(MAIN)) == 40
        assert strategy.n_restored == 1
        assert strategy.n_asked == 40 - len(asked) + 1


def test_a_finished_search_is_read_and_hardly_asked(tmp_path: Path) -> None:
    whole(tmp_path / "run", "item-gp")
    strategy = made("item-gp")
    with RunStore.open(tmp_path / "run") as store:
        before = facts(store)
        noted(store, Model(), strategy).run()
        assert facts(store) == before
    assert strategy.n_asked == strategy.batch


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE states SET version = 'of another kingyo'",
        "UPDATE states SET log = 'of another log'",
        "UPDATE states SET trial = (SELECT MIN(id) FROM trials WHERE search = 'main')",
        "DELETE FROM states",
        "UPDATE states SET content = 'no JSON'",
        "UPDATE states SET content = '[1]'",
    ],
)
def test_a_note_that_does_not_hold_is_left_and_all_is_replayed(
    tmp_path: Path, half: Path, change: str
) -> None:
    wanted = whole(tmp_path / "whole", "item-gp")
    with edited(half) as database:
        database.execute(change)
    strategy = made("item-gp")
    with RunStore.open(half) as store:
        noted(store, Model(some_fail), strategy).run()
        assert facts(store) == wanted
    assert (strategy.n_restored, strategy.n_asked) == (0, 40)


def test_a_run_of_the_schema_before_notes_is_replayed(tmp_path: Path, half: Path) -> None:
    wanted = whole(tmp_path / "whole", "item-gp")
    notes = next(number for number, step in enumerate(MIGRATIONS) if "states" in step)
    with closing(sqlite3.connect(half / DATABASE)) as database:
        database.executescript("DROP TABLE sums; DROP TABLE states; DROP INDEX trials_by_batch")
        for column in ("is_cut", "media"):
            database.execute(f"ALTER TABLE scores DROP COLUMN {column}")
        database.execute(f"PRAGMA user_version = {notes}")
    strategy = made("item-gp")
    with RunStore.open(half) as store:
        noted(store, Model(some_fail), strategy).run()
        assert facts(store) == wanted
    assert (strategy.n_restored, strategy.n_asked) == (0, 40)


def test_a_log_that_was_changed_before_the_note_is_found(half: Path) -> None:
    with edited(half) as database:
        database.execute("UPDATE outcomes SET value = 1 - value WHERE id = 3")
        database.execute(
            "UPDATE trials SET genome = '[0.5, 0.5, 0.5, 0.5]' WHERE search = 'main' AND number = 7"
        )
    with RunStore.open(half) as store, pytest.raises(KingyoError, match="stored batch 1"):
        noted(store, Model(some_fail), made("item-gp")).run()


def test_other_settings_are_found_behind_the_note(half: Path) -> None:
    strategy = made("item-gp", pool=90)
    with RunStore.open(half) as store, pytest.raises(KingyoError, match="to ask for the stored"):
        noted(store, Model(some_fail), strategy).run()
    assert strategy.n_restored == 1


def test_a_strategy_that_costs_nothing_is_not_noted(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "item-gp", limits=Limits(candidates=10)).run()
        assert store.state(MAIN) is None


KILLED = """
import os, signal, sys
from pathlib import Path
from kingyo.store import RunStore
from tests.screened_runs import Model, begun, facts
from tests.screened_runs import some_fail
from tests.noted_runs import made, noted

folder, name = Path(sys.argv[1]), sys.argv[2]
with begun(folder / "whole") as store:
    seen = []
    store._db.set_trace_callback(seen.append)
    noted(store, Model(some_fail), made(name)).run()
    store._db.set_trace_callback(None)
    wanted = facts(store)
# Every statement of the transaction in which a state is stored, and some before and after it.
noted_at = [n for n, statement in enumerate(seen) if "INTO states" in statement]
assert len(noted_at) > 5
for stop in range(noted_at[3] - 9, noted_at[3] + 4):
    child = os.fork()
    if child == 0:
        with begun(folder / f"{stop}") as store:
            left = [stop]
            def count(statement):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            store._db.set_trace_callback(count)
            noted(store, Model(some_fail), made(name)).run()
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    strategy = made(name)
    with RunStore.open(folder / f"{stop}") as store:
        noted(store, Model(some_fail), strategy).run()
        assert facts(store) == wanted, stop
    assert strategy.n_restored == 1, stop
"""


def test_killed_at_any_statement_around_a_note_it_ends_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "item-gp"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
