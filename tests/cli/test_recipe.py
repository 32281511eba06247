"""`kingyo recipe`: recipes of a file or a run, as paths, as slices, and back."""

from pathlib import Path

import pytest
import yaml

from kingyo.merging.engine import rooted
from kingyo.merging.recipe import load_recipe
from tests.cli.conftest import World
from tests.cli.merging import Command

PATH = """merge_method: passthrough
base_model: base
path:
  - {model: a, layer_range: [0, 2]}
  - {model: a, layer: 1}
  - {model: b, layer: 2}
  - {model: b, layer: 2}
"""


@pytest.fixture
def command(world: World) -> Command:
    (world.folder / "path.yaml").write_text(PATH)
    return Command(world.folder)


class TestRecipe:
    def test_a_path_is_written_as_slices(self, command: Command) -> None:
        done = command("recipe", "path.yaml", "--as", "slices")
        assert done.code == 0, done.err
        ranges = [each["sources"][0]["layer_range"] for each in yaml.safe_load(done.out)["slices"]]
        assert ranges == [[0, 0], [0, 2], [1, 2], [2, 3], [2, 3], [0, 0]]


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
