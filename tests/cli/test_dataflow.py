"""Paths through layers, from a run.yaml to an exported model that answers the same."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.conftest import World, interrupted

DATAFLOW = {
    "space": "dataflow",
    "dataflow": {"frame": "a", "repetitions": 2, "scales": "matrix", "max_hops": 4},
    "merge": {"dtype": "float32"},
    "search": {"strategy": "ga"},
    "base": None,
    "budget": {"candidates": 6},
}


def test_a_path_is_bred_resumed_reported_and_exported(world: World) -> None:
    config = world.config(**DATAFLOW)
    interrupted(world, "evolve", config, after=5)
    done = world.run("resume", "runs/small", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert "frankenmerge" in shown["baselines"]
    assert shown["winner"] is not None
    assert world.run("report", "runs/small").returncode == 0
    done = world.run("export", "runs/small", "out")
    assert done.returncode == 0, done.stderr
    recipe = yaml.safe_load((world.folder / "out" / "recipe.yaml").read_text())
    assert recipe["merge_method"] == "passthrough"
    assert 1 <= len(recipe["path"]) <= 4
    done = world.run("evaluate", "out", "runs/small", "--json")
    assert json.loads(done.stdout)["score"] == pytest.approx(shown["winner"]["test"]["score"])


def test_the_dry_run_speaks_of_paths(world: World) -> None:
    done = world.run("evolve", world.config(**DATAFLOW), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "paths through layers: scales matrix" in done.stdout
    assert not (world.folder / "runs").exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"space": "parameters"}, "space: dataflow beside dataflow"),
        ({"space": "data-flow"}, "dataflow"),
        ({"merge": {"method": "ties"}}, "nothing but dtype below merge"),
        ({"dataflow": {"frame": "zz"}}, "one of the sources as dataflow.frame"),
        ({"dataflow": {"max_hops": 0}}, "max_hops"),
        ({"dataflow": {"most": 1}}, "most"),
        ({"dataflow": {"repetition": 2}}, "Did you mean 'repetitions'"),
    ],
)
def test_mistakes_are_named(world: World, changed: dict[str, object], says: str) -> None:
    done = world.run("evolve", world.config(**{**DATAFLOW, **changed}))
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (world.folder / "runs").exists()
