"""Searches over full recipes on the command line: methods, sources and their weights together."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import World


@pytest.mark.slow
def test_methods_and_sources_are_searched_and_exported(world: World) -> None:
    config = world.config(
        merge={
            "method": ["linear", "ties", "dare_ties", "slerp"],
            "choose_sources": {"at_most": 1},
            "groups": "layers:2",
        },
        budget={"candidates": 12},
    )
    world.ok("evolve", config, "--run", "r")
    with closing(sqlite3.connect(world.folder / "r" / "run.db")) as connection:
        rows = connection.execute("SELECT recipe FROM trials WHERE search IN ('main', 'random', 'grid')")
        recipes = [json.loads(row[0]) for row in rows]
    assert len({recipe["merge_method"] for recipe in recipes}) > 2
    assert {len(recipe["models"]) for recipe in recipes} == {1}
    for command in (("show", "r", "--json"), ("report", "r"), ("export", "r", "out"), ("resume", "r")):
        world.ok(*command)
