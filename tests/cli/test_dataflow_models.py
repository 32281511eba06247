"""Path runs over different models: refused before reading weights, or correct."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from tests.cli.conftest import World
from tests.cli.merging import write_lora
from tests.cli.path_runs import DATAFLOW
from tests.models_on_disk import llama

PATH = "merge_method: passthrough\nbase_model: a\npath: [{model: a, layer: 0}, {model: other, layer: 1}]\n"


def path_config(**changed: Any) -> dict[str, Any]:
    return {**DATAFLOW, "sources": {"a": "a", "other": "other"}, **changed}


def test_incompatible_path_models_are_refused_by_every_command(world: World) -> None:
    llama(world.folder / "other", hidden=32)
    (world.folder / "path.yaml").write_text(PATH)
    config = world.config(**path_config())
    commands = (("evolve", config, "--dry-run"), ("evolve", config), ("merge", "path.yaml", "out"))
    for command in (*commands, ("merge", "path.yaml", "out", "--dry-run")):
        done = world.fails(*command)
        message = " ".join((done.stdout + done.stderr).split())
        assert "hidden_size in config.json: expected 16 as in a" in message
        assert "received 32 in other" in message
        assert "Traceback" not in message
    assert not (world.folder / "out").exists()
    assert not (world.folder / "runs").exists()


ALL = {"strategy": "random", "warm_start": False}


def test_models_of_different_depth_can_be_evolved(world: World) -> None:
    llama(world.folder / "other", layers=5, seed=7)
    paths = {"frame": "a", "scales": "layer", "max_hops": 6}
    config = world.config(**path_config(dataflow=paths, search=ALL, merge=None, controls=None))
    agrees(world, config, ["a", "other", "frankenmerge"])


def agrees(world: World, config: Path, baselines: list[str]) -> dict[str, Any]:
    """Evolve, export a candidate with layers of both models, and compare it with the measured scores."""
    shown = world.data("evolve", config)
    assert list(shown["baselines"]) == baselines
    assert shown["failures"] == 0
    world.ok("export", "runs/small", "out", "--search", "main")
    score = world.data("evaluate", "out", "runs/small")["score"]
    assert score == pytest.approx(shown["winner"]["test"]["score"])
    return shown


@pytest.mark.slow
def test_a_source_with_a_lora_can_be_passed_through(world: World) -> None:
    write_lora(world.folder / "lora", "a")
    config = world.config(
        **path_config(sources={"a": "a", "adapted": "a+lora"}, dataflow={"frame": "adapted", "max_hops": 4})
    )
    shown = agrees(world, config, ["a", "adapted", "uniform", "frankenmerge"])
    merged = {"merge_method": "passthrough", "models": [{"model": "a+lora"}]}
    (world.folder / "tuned.yaml").write_text(yaml.safe_dump(merged))
    world.ok("merge", "tuned.yaml", "tuned")
    alone = world.data("evaluate", "tuned", "runs/small")["score"]
    plain = world.data("evaluate", "a", "runs/small")["score"]
    assert shown["baselines"]["adapted"]["test"]["score"] == pytest.approx(alone)
    assert alone != plain, "the adapter says something"


def test_paths_that_nothing_can_compute_with_are_failures_with_a_reason(world: World) -> None:
    """Of scales this wide most candidates leave the range in which a checkpoint can say the same."""
    wild = {"max_scale": 1024, "scales": "layer", "max_hops": 6}
    config = world.config(
        **{
            **DATAFLOW,
            "dataflow": wild,
            "merge": {"dtype": "float16"},
            "search": ALL,
            "budget": {"candidates": 12},
        }
    )
    shown = world.data("evolve", config)
    assert 0 < shown["failures"] < shown["trials"]
    world.ok("export", "runs/small", "out", "--search", "main")


def test_weights_that_overflow_when_a_scale_is_folded_in_are_named(world: World) -> None:
    file = world.folder / "a" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.down_proj.weight"] *= 1e4
    save_file(tensors, file, metadata={"format": "pt"})
    recipe = "merge_method: passthrough\ndtype: float16\npath: [{model: a, layer: 1, scale: 0.002}]\n"
    (world.folder / "path.yaml").write_text(recipe)
    world.fails("merge", "path.yaml", "out", says="model.layers.0.mlp.down_proj.weight")
    assert not (world.folder / "out").exists()
