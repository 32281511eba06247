"""`kingyo recipe`: recipes of a file or a run, as paths, as slices, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from kingyo.merging.engine import rooted
from kingyo.merging.recipe import load_recipe
from tests.cli.conftest import World
from tests.cli.merging import Command

PATH = """merge_method: passthrough
base_model: base
path:
  - {model: a, layer_range: [0, 2]}
  - {model: a, layer: 1, scale: 0.9}
  - {model: b, layer: 2}
  - {model: b, layer: 2}
"""
PLAIN = PATH.replace(", scale: 0.9", "")


@pytest.fixture
def command(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    (world.folder / "path.yaml").write_text(PATH)
    return Command(world.folder, capsys, monkeypatch)


class TestRecipe:
    def test_a_path_is_written_as_slices(self, command: Command) -> None:
        (command.folder / "plain.yaml").write_text(PLAIN)
        done = command("recipe", "plain.yaml", "--as", "slices")
        assert done.code == 0, done.err
        slices = yaml.safe_load(done.out)
        assert [each["sources"][0]["layer_range"] for each in slices["slices"]] == [
            [0, 0],
            [0, 2],
            [1, 2],
            [2, 3],
            [2, 3],
            [0, 0],
        ]
        (command.folder / "slices.yaml").write_text(done.out)
        for name in ("plain", "slices"):
            assert command("merge", f"{name}.yaml", name).code == 0
        one, other = (load_file(command.folder / each / "model.safetensors") for each in ("plain", "slices"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[each], other[each]) for each in one)
        configs = [(command.folder / each / "config.json").read_text() for each in ("plain", "slices")]
        assert configs[0] == configs[1]

    def test_scales_are_refused_with_what_to_do(self, command: Command) -> None:
        done = command("recipe", "path.yaml", "--as", "slices")
        assert done.code == 1
        assert done.out == ""
        assert "path[2]: expected scale 1 everywhere" in done.err
        assert "fold scales into weights" in done.err

    def test_a_recipe_without_a_path_is_refused(self, command: Command) -> None:
        done = command("recipe", command.recipe(), "--as", "slices")
        assert done.code == 1
        assert "--as slices: expected a recipe with a path" in done.err


def test_the_recipe_of_a_run_is_that_of_its_best_model(finished: World, tmp_path: Path) -> None:
    done = finished.ok("recipe", "runs/small")
    recipe = yaml.safe_load(done.stdout)
    assert recipe["base_model"] == str(finished.folder / "base")
    out = tmp_path / "out"
    finished.ok("export", "runs/small", out)
    assert rooted(load_recipe(out / "recipe.yaml"), out).to_yaml() == done.stdout
    other = finished.run("recipe", "runs/small", "--trial", "0")
    assert yaml.safe_load(other.stdout)["base_model"] == recipe["base_model"]
    finished.fails("recipe", "runs/small", "--as", "slices", says="--as slices: expected")
