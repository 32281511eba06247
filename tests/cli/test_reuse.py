"""Duplicates and near-duplicates through the real command: an equal recipe is scored once by default."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import World

CORNERS = {"method": "task_arithmetic", "choose_sources": True, "parameters": {"weight": 0.5}}
"""Two sources, each in or out: three recipes."""


def rows(run: Path) -> list[tuple[list[float], dict[str, list[dict[str, dict[str, float]]]]]]:
    with closing(sqlite3.connect(run / "run.db")) as connection:
        rows_of = connection.execute("SELECT genome, recipe FROM trials WHERE search = 'main' ORDER BY id")
        return [(json.loads(genome), json.loads(recipe)) for genome, recipe in rows_of]


def weights(recipe: dict[str, list[dict[str, dict[str, float]]]]) -> list[float]:
    return [source["parameters"]["weight"] for source in recipe["models"]]


def test_recipes_contain_rounded_genes_and_the_export_matches_the_score(
    finished: World, tmp_path: Path
) -> None:
    stored = rows(finished.folder / "runs" / "small")
    assert any(genome != [round(gene, 3) for gene in genome] for genome, _ in stored)
    for genome, recipe in stored:
        assert weights(recipe) == [round(gene, 3) + 0.0 for gene in genome]
    finished.ok("export", "runs/small", tmp_path / "bred", "--search", "main")
    winner = finished.show("runs/small")["winner"]
    assert isinstance(winner, dict)
    assert weights(winner["recipe"]) == [round(gene, 3) + 0.0 for gene in winner["genome"]]
    exported = (tmp_path / "bred" / "recipe.yaml").read_text()
    assert all(f"weight: {weight}" in exported for weight in weights(winner["recipe"]))


def test_copies_are_counted_and_can_be_switched_off(world: World) -> None:
    shown: dict[bool, dict[str, object]] = {}
    for reuse in (True, False):
        search = {"strategy": "random", "reuse": reuse}
        config = world.config(merge=CORNERS, search=search, budget={"candidates": 9})
        done = world.ok("evolve", config, "--run", f"runs/{reuse}")
        assert ("scores copied from the same recipe" in " ".join(done.stdout.split())) == reuse
        shown[reuse] = world.show(f"runs/{reuse}")
    assert shown[False]["copied"] == 0
    copied = shown[True]["copied"]
    assert isinstance(copied, int)
    assert copied >= 16 * 6  # nine trials of three recipes, on 16 items
    for key in ("winner", "baselines", "comparisons", "trials"):
        assert shown[True][key] == shown[False][key]
