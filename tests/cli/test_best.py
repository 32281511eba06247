"""Show, report and export of runs whose best model is a parent or the winner of a control.

The models are those of the zoo, and the main search asks for the far corner of the space alone.
"""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.cli.conftest import World

ROOT = Path(__file__).parents[2]
CORNER = '''
from dataclasses import dataclass
from kingyo.core.types import Trial

class Corner:
    """The upper corner of the space, again and again."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        pass

    batch = 1

    def __init__(self, axes, seed, settings):
        self.axes, self.count = axes, 0

    def ask(self, n):
        self.count += 1
        return [Trial(number=self.count - 1, genome=tuple(axis.high for axis in self.axes))]

    def tell(self, outcomes):
        pass
'''


def world_in(folder: Path, *, task: str, sources: list[str], weight: dict[str, float], seed: int) -> World:
    is_ja = task == "ja-math"
    config = {
        "name": "small",
        "seed": seed,
        "base": "zoo/base",
        "sources": {name: f"zoo/{name}" for name in sources},
        "task": {
            "data": f"zoo/tasks/{task}.jsonl",
            "prompt": "Q: {prompt}\nA:",
            "grader": ["number", {"language": "ja"}] if is_ja else "number",
            "max_new_tokens": 24 if is_ja else 6,
            "splits": {"fit": 12, "validation": 24, "test": 24},
        },
        "merge": {"method": "task_arithmetic", "parameters": {"weight": weight}, "dtype": "float32"},
        "search": {"strategy": "corner.py:Corner"},
        "budget": {"candidates": 8},
        "controls": {"random": True, "grid": not is_ja, "trained": False},
        "finalists": 2,
        "threads": 1,
    }
    (folder / "zoo").symlink_to(ROOT / "zoo")
    (folder / "corner.py").write_text(CORNER)
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return World(folder=folder)


def sums(folder: Path) -> World:
    """Every merge is broken, and math-sym does sums well."""
    return world_in(folder, task="sums", sources=["math-sym", "sort"], weight={"from": 2.5, "to": 3}, seed=0)


def bred(world: World) -> tuple[World, str]:
    done = world.ok("evolve", "run.yaml")
    return world, done.stdout


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str]:
    """A run whose best model is a parent, and what `evolve` printed. Tests only read it."""
    return bred(sums(tmp_path_factory.mktemp("parent")))


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str]:
    """A run whose best model is one that random search found."""
    folder, weight = tmp_path_factory.mktemp("control"), {"from": 0.8, "to": 3}
    world = world_in(folder, task="ja-math", sources=["ja", "math-sym"], weight=weight, seed=3)
    return bred(world)


def export(world: World, out: Path, *options: str) -> tuple[str, str]:
    """Export; return the output and the card, each on one line."""
    done = world.ok("export", "runs/small", out, *options)
    card = (out / "README.md").read_text(encoding="utf-8")
    return " ".join(done.stdout.split()), " ".join(card.split())


def test_a_best_parent_is_reported_first(parent: tuple[World, str]) -> None:
    world, output = parent
    sentence = (
        "The best model of this run is the parent math-sym: on the items of fit and validation that both "
    )
    sentence += "answered the bred model is behind the parent math-sym (−"
    for text in (output, world.run("show", "runs/small").stdout):
        line = " ".join(text.split())
        assert sentence in line
        assert line.index(sentence) < line.index("trials,") < line.index("bred (trial 0)")
        assert "bred − math-sym (best parent):" in line
    shown = world.show("runs/small")
    assert shown["best"] == {"name": "math-sym", "search": "baselines", "trial": 1}
    assert shown["winner"] is not None


def test_the_parent_is_exported_as_a_copy(parent: tuple[World, str], tmp_path: Path) -> None:
    world, _ = parent
    output, card = export(world, tmp_path / "best")
    assert "the parent math-sym, a copy of it. On test" in output
    assert "The best model of this run is the parent math-sym" in output
    assert "`--search main` writes the bred model" in output
    parent_weights = load_file(ROOT / "zoo" / "math-sym" / "model.safetensors")
    saved = load_file(tmp_path / "best" / "model.safetensors")
    assert set(saved) == set(parent_weights)
    assert all(torch.equal(saved[name], tensor.float()) for name, tensor in parent_weights.items())
    assert "A copy of the parent math-sym of the run small, written by kingyo" in card
    assert "Nothing was merged or trained" in card
    assert "- no search: it is a model that the run compares with" in card
    assert "| bred (trial 0) |" in card
    done = world.run("evaluate", tmp_path / "best", "runs/small", "--json")
    baselines = world.show("runs/small")["baselines"]
    assert isinstance(baselines, dict)
    assert json.loads(done.stdout)["score"] == baselines["math-sym"]["test"]["score"]


@pytest.mark.slow
def test_the_winner_of_a_control_is_exported_when_it_is_the_best(
    control: tuple[World, str], tmp_path: Path
) -> None:
    world, output = control
    shown = world.show("runs/small")
    best, controls = shown["best"], shown["controls"]
    assert isinstance(best, dict) and isinstance(controls, dict)
    number = controls["random"]["trial"]
    assert best == {"name": "random", "search": "random", "trial": number}
    line = " ".join(output.split())
    assert f"The best model of this run is trial {number} of random search: on the items of " in line
    output, card = export(world, tmp_path / "best")
    assert f"trial {number} of random search." in output
    assert f"This is trial {number} of random search of the run small. The best model of this run" in card
    assert "- search: random over task\\_arithmetic" in card
    one = world.data("show", "runs/small", "--trial", f"random:{number}")
    assert (one["search"], one["trial"], one["name"]) == ("random", number, None)
    assert one["test"] == controls["random"]["test"]
    recipe = world.run("recipe", "runs/small", "--trial", f"random:{number}").stdout
    assert recipe == world.run("recipe", "runs/small").stdout
    done = world.run("evaluate", tmp_path / "best", "runs/small", "--json")
    assert json.loads(done.stdout)["score"] == controls["random"]["test"]["score"]


def test_a_baseline_by_its_name(parent: tuple[World, str], tmp_path: Path) -> None:
    world, name = parent[0], "uniform"
    output, card = export(world, tmp_path / "out", "--trial", name)
    assert "the uniform merge." in output
    assert "A merge of math-sym, sort: the uniform merge of the run small" in card
    assert "Nothing was searched for it" in card
    text = world.run("show", "runs/small", "--trial", name).stdout
    assert text.startswith("The uniform merge of runs/small")
    one = world.data("show", "runs/small", "--trial", name)
    assert one["name"] == "uniform"
    recipe = yaml.safe_load(world.run("recipe", "runs/small", "--trial", name).stdout)
    models = [source["model"] for source in recipe["models"]]
    assert models == [str(ROOT / "zoo" / source) for source in ("math-sym", "sort")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--trial", "0", "--search", "grid"], "received trial and search"),
        (["--trial", "8"], "a number from 0 to 7 or random:0 or grid:0 or one of base, "),
    ],
)
def test_bad_wishes_are_one_clear_error(
    parent: tuple[World, str], tmp_path: Path, options: list[str], says: str
) -> None:
    world, _ = parent
    world.fails("export", "runs/small", tmp_path / "out", *options, says=says)
    assert not list(tmp_path.iterdir())
    if options[0] == "--trial" and len(options) == 2:
        for command in ("show", "recipe"):
            done = world.fails(command, "runs/small", *options)
            assert says in done.stderr, command
