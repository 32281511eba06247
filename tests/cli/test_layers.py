"""`kingyo layers` on the command line: the table, JSON, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import World
from tests.cli.path_runs import DATAFLOW, of_other_tokens
from tests.models_on_disk import llama


def layers_json(world: World, *arguments: str | Path) -> dict[str, Any]:
    done = world.ok("layers", *arguments, "--json")
    return json.loads(done.stdout)


def test_a_run_yaml_dry_run_prints_text(world: World) -> None:
    done = world.ok("layers", "run.yaml")
    assert "A = a, 3 layers" in done.stdout
    assert "B = b, 3 layers" in done.stdout
    assert "tokens of 16 prompts" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    head = lines.index(["A.0", "A.1", "A.2", "B.0", "B.1", "B.2"])
    row = lines[head + 2]
    assert row[:1] == ["A.0"] and row[2] == "1", "layer 1 of A is entered by what leaves layer 0"
    assert lines[-1][0] == "B.2"


def test_json_has_every_number(world: World) -> None:
    summary = layers_json(world, "run.yaml")
    assert list(summary) == ["models", "layers", "prompts", "tokens", "places", "cosine"]
    assert summary["places"] == ["a.0", "a.1", "a.2", "a.3", "b.0", "b.1", "b.2", "b.3"]
    assert (summary["layers"], summary["prompts"]) == ({"a": 3, "b": 3}, 16)
    assert summary["tokens"] > 16
    assert [summary["cosine"][i][i] for i in range(8)] == pytest.approx([1] * 8)
    assert summary["cosine"][1][5] == summary["cosine"][5][1] < 0.999


def test_models_and_a_task_are_the_same_as_their_run(world: World) -> None:
    of_run, of_models = layers_json(world, "run.yaml"), layers_json(world, "a", "b", "--task", "task.yaml")
    assert of_models == of_run
    few = layers_json(world, "a", "b", "--task", "task.yaml", "--items", "5")
    assert few["prompts"] == 5
    assert few["tokens"] < of_run["tokens"]


def test_one_model_is_compared_with_itself_and_sources_may_differ_in_depth(world: World) -> None:
    assert layers_json(world, "a", "--task", "task.yaml")["places"] == ["a.0", "a.1", "a.2", "a.3"]
    llama(world.folder / "deep", layers=5, seed=7)
    summary = layers_json(world, world.config(**{**DATAFLOW, "sources": {"a": "a", "deep": "deep"}}))
    assert summary["layers"] == {"a": 3, "deep": 5}
    assert len(summary["cosine"]) == 10


def test_a_lora_counts_and_a_model_that_is_named_twice_is_itself(world: World) -> None:
    (world.folder / "lora").mkdir()
    adapter = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "a"}
    (world.folder / "lora" / "adapter_config.json").write_text(json.dumps(adapter))
    name = "base_model.model.model.layers.1.mlp.down_proj"
    tensors = {f"{name}.lora_A.weight": torch.ones(1, 32), f"{name}.lora_B.weight": torch.ones(16, 1)}
    save_file(tensors, world.folder / "lora" / "adapter_model.safetensors")
    sources = {"a": "a", "again": "a", "with-lora": "a+lora"}
    summary = layers_json(world, world.config(**{**DATAFLOW, "sources": sources}))
    assert summary["cosine"][2][6] == pytest.approx(1)
    assert summary["cosine"][1][9] == pytest.approx(1)
    assert summary["cosine"][2][10] < 0.9999, "layer 1 says something else"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: llama(folder, hidden=32), "hidden_size in config.json: expected 16 as in a"),
        (of_other_tokens, "the vocabularies of a and other: expected one id for each token"),
    ],
)
def test_incompatible_consecutive_layers_are_refused(world: World, make: Any, says: str) -> None:
    make(world.folder / "other")
    done = world.fails("layers", world.config(base=None, sources={"a": "a", "other": "other"}))
    assert says in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a", "b"), "--task: expected a task file"),
        (("absent", "--task", "task.yaml"), "absent: expected a folder with a checkpoint"),
    ],
)
def test_mistakes_are_one_message(world: World, arguments: tuple[str, ...], says: str) -> None:
    world.fails("layers", *arguments, says=says)
