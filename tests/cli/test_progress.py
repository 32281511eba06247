"""What a run says of itself while it goes on, and what it chooses where the user is silent."""

from __future__ import annotations

import json
import re
import sqlite3

from tests.cli.conftest import World, interrupted


def test_a_short_search_says_how_it_ended(world: World) -> None:
    config = world.config(budget={"candidates": 6}, controls={"random": True, "grid": False})
    done = world.run("evolve", config)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"6 trials, best \d+\.\d %", done.stderr)) == 2


def test_a_tiny_model_computes_with_one_thread(finished: World) -> None:
    with sqlite3.connect(finished.folder / "runs" / "small" / "run.db") as connection:
        stored = connection.execute("SELECT value FROM facts WHERE key = 'threads'").fetchone()
    connection.close()
    assert stored == ("1",)


def test_the_test_split_of_a_run_under_way_is_not_read_by_accident(world: World) -> None:
    interrupted(world, "evolve", "run.yaml", after=5)
    done = world.run("evaluate", "a", "runs/small", "--json")
    assert done.returncode == 1, done.stderr
    (error,) = json.loads(done.stdout)["errors"]
    assert "its test split is read once" in error["expected"]
    assert world.run("evaluate", "a", "runs/small", "--split", "validation").returncode == 0
