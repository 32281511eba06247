"""Without numba, every command works and one note says that it is slower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.cli.merging import contents, write_recipe

NOTE = "Note: numba is not installed"


@pytest.fixture
def without_numba(tmp_path: Path) -> dict[str, str]:
    """The environment of an interpreter that finds no numba: Python runs this file before anything else."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['numba'] = None\n")
    return {"PYTHONPATH": str(hidden)}


def test_a_merge(world: World, without_numba: dict[str, str]) -> None:
    recipe = write_recipe(world.folder / "recipe.yaml")
    dry = world.ok("merge", recipe, "out", "--dry-run", "--json", env=without_numba, fresh=True)
    assert dry.stderr.startswith(NOTE) and dry.stderr.count("\n") == 1
    assert "error" not in json.loads(dry.stdout)
    done = world.ok("merge", recipe, "out", env=without_numba, fresh=True)
    assert done.stderr.startswith(NOTE) and done.stderr.count("\n") == 1
    assert world.run("merge", recipe, "with").stderr == ""
    weights = [contents(world.folder / out)["model.safetensors"] for out in ("out", "with")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("module", "env", "reason"), [(None, {"NUMBA_DISABLE_JIT": "1"}, "is told not to compile")]
)
def test_numba_that_cannot_be_used(
    world: World, tmp_path: Path, module: str | None, env: dict[str, str], reason: str
) -> None:
    if module is not None:
        (tmp_path / "broken" / "numba").mkdir(parents=True)
        (tmp_path / "broken" / "numba" / "__init__.py").write_text(module)
        env = {"PYTHONPATH": str(tmp_path / "broken")}
    recipe = write_recipe(world.folder / "recipe.yaml")
    done = world.ok("merge", recipe, "out", env=env, fresh=True)
    assert done.stderr.startswith(f"Note: numba {reason}"), done.stderr
    assert world.run("merge", recipe, "with").stderr == ""
    weights = [contents(world.folder / out)["model.safetensors"] for out in ("out", "with")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_search(world: World, without_numba: dict[str, str]) -> None:
    config = world.config(budget={"candidates": 6}, finalists=1)
    done = world.ok("evolve", config, "--run", "without", env=without_numba, fresh=True)
    assert done.stderr.count(NOTE) == 1, done.stderr
    done = world.ok("evolve", config, "--run", "with")
    assert NOTE not in done.stderr
    assert winner(world, "without") == winner(world, "with")


def winner(world: World, run: str) -> object:
    winner_ = world.show(run)["winner"]
    assert winner_ is not None
    return winner_
