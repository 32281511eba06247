"""Paths through layers, from a run.yaml to an exported model that answers the same."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.conftest import World, interrupted
from tests.decoders import ARCHITECTURES, loud
from tests.models_on_disk import tokenizer

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


def test_models_whose_paths_could_not_be_exported_are_refused_before_a_run(world: World) -> None:
    for seed, name in enumerate("ab"):
        folder = world.folder / f"gemma-{name}"
        loud(ARCHITECTURES["gemma2"], seed).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    given = {**DATAFLOW, "sources": {"a": "gemma-a", "b": "gemma-b"}}
    done = world.run("evolve", world.config(**given))
    assert done.returncode == 1
    assert "scales in a model of type gemma2" in done.stderr
    assert "scales: none" in done.stderr
    assert not (world.folder / "runs").exists()
    given["dataflow"] = {"scales": "none"}
    assert world.run("evolve", world.config(**given), "--dry-run").returncode == 0
