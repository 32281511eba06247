"""A source with its own groups and range, on the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import World


@pytest.mark.slow
def test_a_source_with_its_own_range_is_searched(world: World) -> None:
    sources = {"a": {"groups": "one", "parameters": {"weight": {"from": 0.5, "to": 2, "start": 1}}}}
    merge = {"method": "task_arithmetic", "groups": "layers:2", "sources": sources}
    config = world.config(merge=merge, budget={"candidates": 6}, controls={"grid": True})
    world.ok("evolve", config, "--run", "r")
    with closing(sqlite3.connect(world.folder / "r" / "run.db")) as connection:
        rows = dict(connection.execute("SELECT name, description FROM searches"))
    axes = {
        search: {axis["name"]: axis for axis in json.loads(rows[search])["axes"]}
        for search in ("main", "grid")
    }
    assert set(axes["main"]) == {"weight/a/all", "weight/b/layers.0", "weight/b/layers.1"}
    assert axes["main"]["weight/a/all"]["low"] == axes["grid"]["weight/a/all"]["low"] == 0.5
    world.ok("report", "r")


def test_unknown_sources_are_one_error(world: World) -> None:
    done = world.fails("evolve", world.config(merge={"sources": {"aa": {"groups": "block"}}}), "--dry-run")
    assert done.stderr.startswith("Error: merge.sources: expected") and "'aa'" in done.stderr
