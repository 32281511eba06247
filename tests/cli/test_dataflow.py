"""Paths through layers, from a run.yaml to an exported model that answers the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import PreTrainedModel

from tests.cli.conftest import World, interrupted
from tests.cli.path_runs import DATAFLOW
from tests.decoders import ARCHITECTURES, SHAPE, loud, maker
from tests.models_on_disk import tokenizer


def test_a_path_search_runs_resumes_reports_and_exports(world: World) -> None:
    config = world.config(**DATAFLOW)
    interrupted(world, "evolve", config, after=5)
    shown = world.data("resume", "runs/small")
    assert "frankenmerge" in shown["baselines"]
    assert shown["winner"] is not None
    world.ok("report", "runs/small")
    world.ok("export", "runs/small", "out", "--search", "main")
    recipe = yaml.safe_load((world.folder / "out" / "recipe.yaml").read_text())
    assert recipe["merge_method"] == "passthrough"
    assert 1 <= len(recipe["path"]) <= 4
    card = (world.folder / "out" / "README.md").read_text()
    assert "A path through " in card
    assert "with embeddings and head of a, bred by" in card
    assert "relative to their base" not in card
    done = world.run("evaluate", "out", "runs/small", "--json")
    assert json.loads(done.stdout)["score"] == pytest.approx(shown["winner"]["test"]["score"])


def test_show_prints_the_path_of_a_winner_and_of_a_trial(world: World) -> None:
    shown = world.data("evolve", world.config(**DATAFLOW))["winner"]
    hops = [(hop["model"], hop["layer"], hop["scale"]) for hop in shown["path"]["hops"]]
    assert hops == recipe_hops(shown["recipe"])
    output = world.run("show", "runs/small").stdout
    assert f"Path of bred: {len(hops)} hop" in output and "embeddings, norm and head of a" in output
    assert shown["path"]["text"] in output.splitlines()
    assert shown["path"]["text"] in world.run("show", "runs/small", env={"COLUMNS": "10"}).stdout.splitlines()
    number = (shown["trial"] + 1) % 6
    one = world.data("show", "runs/small", "--trial", str(number))
    assert one["trial"] == number and one["fit"]["n"] > 0
    hops = [(hop["model"], hop["layer"], hop["scale"]) for hop in one["path"]["hops"]]
    assert hops == recipe_hops(one["recipe"])
    output = world.run("show", "runs/small", "--trial", str(number)).stdout
    assert one["path"]["text"] in output.splitlines() and "merge_method: passthrough" in output
    world.fails("show", "runs/small", "--trial", "99", says="a number from 0 to 5")


def recipe_hops(recipe: dict[str, Any]) -> list[tuple[str, int, float]]:
    hops: list[tuple[str, int, float]] = []
    for entry in recipe["path"]:
        first, end = entry.get("layer_range") or (entry["layer"], entry["layer"] + 1)
        hops += [(entry["model"], layer, entry.get("scale", 1.0)) for layer in range(first, end)]
    return hops


def test_a_merge_is_one_of_the_models_of_a_path(world: World) -> None:
    """Two recipes in one file: the second uses layers of the first one's output."""
    (world.folder / "both.yaml").write_text(
        "name: both\nmerge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"
        "dtype: float32\n---\n"
        "merge_method: passthrough\nbase_model: a\npath:\n  - {model: a, layer_range: [0, 2]}\n"
        "  - {model: both, layer: 1, scale: 0.9}\ndtype: float32\n"
    )
    world.ok("merge", "both.yaml", "out")
    merged, a, b = (load_file(world.folder / name / "model.safetensors") for name in ("out", "a", "b"))
    up, down = "mlp.up_proj.weight", "mlp.down_proj.weight"
    mean = {part: (a[f"model.layers.1.{part}"] + b[f"model.layers.1.{part}"]) / 2 for part in (up, down)}
    torch.testing.assert_close(merged[f"model.layers.2.{up}"], mean[up])
    torch.testing.assert_close(merged[f"model.layers.2.{down}"], mean[down] / 0.9)
    assert (
        "A path through 3 layers of a, both, with embeddings and head of a"
        in (world.folder / "out" / "README.md").read_text()
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"space": "parameters"}, "space: dataflow (or hybrid) beside dataflow"),
        (
            {"merge": {"method": "ties"}},
            "merge: expected no other keys than dtype with space: dataflow; received method",
        ),
        ({"dataflow": {"frame": "zz"}}, "one of a, b as dataflow.frame"),
        ({"dataflow": {"repetition": 2}}, "Did you mean 'repetitions'"),
    ],
)
def test_mistakes_are_named(world: World, changed: dict[str, object], says: str) -> None:
    world.fails("evolve", world.config(**{**DATAFLOW, **changed}), says=says)
    assert not (world.folder / "runs").exists()


def others(world: World, make: Callable[[], PreTrainedModel]) -> dict[str, object]:
    """A run.yaml of other models than the world's."""
    for seed, name in enumerate("ab"):
        folder = world.folder / f"other-{name}"
        loud(make, seed).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return {**DATAFLOW, "sources": {"a": "other-a", "b": "other-b"}}


@pytest.mark.parametrize("kind", ["olmo3"])
def test_models_without_exportable_paths_are_refused_before_a_run(kind: str, world: World) -> None:
    settings = others(world, ARCHITECTURES.get(kind, maker("Olmo3", **SHAPE)))
    for option in ((), ("--dry-run",)):
        done = world.fails("evolve", world.config(**settings), *option)
        assert f"scales in a model of type {kind}" in done.stderr
        assert "scales: none" in done.stderr
        assert not (world.folder / "runs").exists()
    settings["dataflow"] = {"scales": "none"}
    world.ok("evolve", world.config(**settings), "--dry-run")
