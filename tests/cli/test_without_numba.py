"""Without numba, every command works and one note says that it is slower."""

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


def test_numba_that_cannot_be_used(world: World) -> None:
    recipe = write_recipe(world.folder / "recipe.yaml")
    done = world.ok("merge", recipe, "out", "--dry-run", env={"NUMBA_DISABLE_JIT": "1"}, fresh=True)
    assert done.stderr.startswith("Note: numba is told not to compile"), done.stderr
