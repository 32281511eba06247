"""Components of diffusers pipelines: ``folder/unet`` and ``org/name/unet`` are models."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.locate import whole_pipeline
from kingyo.merging.checkpoints.model_reference import with_component
from kingyo.merging.engine import MergeOptions
from kingyo.merging.engine.preflight import check_merge
from tests.hub import OPEN, Hub, serve
from tests.merging.checkpoints.pipelines import ENCODER, UNET, pipeline
from tests.models_on_disk import llama

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
HALF = "unet/diffusion_pytorch_model.fp16.safetensors"


def test_a_component_knows_its_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline(tmp_path / "sd")
    opened = open_checkpoint("sd/unet", tmp_path)
    assert opened.tensors.keys() == UNET.keys()
    assert (opened.path, opened.pipeline) == (tmp_path / "sd/unet", tmp_path / "sd")
    monkeypatch.chdir(tmp_path / "sd/unet")
    assert open_checkpoint(".").pipeline == tmp_path / "sd"
    llama(tmp_path / "m")
    assert open_checkpoint("m", tmp_path).pipeline is None


@pytest.mark.parametrize("name", ["sd/unett", "sd/scheduler", "sd"])
def test_a_component_that_the_pipeline_lacks_is_one_clear_error(tmp_path: Path, name: str) -> None:
    pipeline(tmp_path / "sd")
    with pytest.raises(KingyoError) as caught:
        open_checkpoint(name, tmp_path)
    assert caught.value.argument == name and "text_encoder, unet" in caught.value.expected
    assert "/unet" in caught.value.remedy and "--component unet" in caught.value.remedy


def test_only_references_of_pipelines_get_a_component(tmp_path: Path) -> None:
    pipeline(tmp_path / "sd")
    llama(tmp_path / "m")
    for reference, expected in {
        "sd": "sd/unet",
        "sd/": "sd/unet",
        "./sd+style.safetensors": "./sd/unet+style.safetensors",
        "sd/unet": "sd/unet",
        "m": "m",
        "org/sd": "org/sd/unet",
        "org/sd@v1+org/lora@v2": "org/sd/unet@v1+org/lora@v2",
        "org/sd/vae@v1": "org/sd/vae@v1",
    }.items():
        assert with_component(reference, "unet", tmp_path) == expected


def recipe(folder: Path, *models: str) -> Path:
    file = folder / "recipe.yaml"
    entries = [{"model": each, "parameters": {"weight": 0.5}} for each in models]
    file.write_text(yaml.safe_dump({"merge_method": "linear", "models": entries}))
    return file


def test_merging_one_component_of_pipelines(tmp_path: Path) -> None:
    for i, name in enumerate("ab"):
        pipeline(tmp_path / name, seed=i)
    file = recipe(tmp_path, "a", "b/unet")
    refused = check_merge(file, tmp_path / "out").error
    assert refused is not None and "--component unet" in str(refused)
    result = check_merge(file, tmp_path / "out", MergeOptions(component="unet"))
    assert result.error is None
    assert result.outputs[0].book.steps[-1].recipe.references == ("a/unet", "b/unet")
    assert {each.name for each in tmp_path.iterdir()} == {"a", "b", "recipe.yaml"}
    with pytest.raises(KingyoError, match="--component: expected the name of a component"):
        check_merge(file, tmp_path / "out", MergeOptions(component="../unet"))


@pytest.fixture
def hub(tmp_path: Path) -> Generator[Hub]:
    """A Hub with two pipelines, one with several variants of weights and one with half precision alone."""
    root = tmp_path / "hub"
    for i, name in enumerate("ab"):
        folder = pipeline(root / "org" / name, seed=i)
        torch.save({"x": torch.zeros(9)}, folder / "unet" / "diffusion_pytorch_model.bin")
    save_file({"x": torch.zeros(9)}, root / "org/a" / HALF)
    (root / "org/b" / WEIGHTS).rename(root / "org/b" / HALF)
    llama(root / "org" / "m")
    with serve(root) as served:
        yield served


def python(hub: Hub, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    environment = os.environ | hub.environment(folder / "home")
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_only_the_component_is_fetched_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    recipe(tmp_path, "org/a", "org/b/unet@main")
    done = python(hub, tmp_path, "-m", "kingyo", "merge", "recipe.yaml", "out", "--component", "unet")
    assert done.returncode == 0, done.stderr
    a, b = (load_file(tmp_path / "hub/org" / name) for name in (f"a/{WEIGHTS}", f"b/{HALF}"))
    merged = load_file(tmp_path / "out/diffusion_pytorch_model.safetensors")
    assert all(torch.allclose(merged[name], (a[name] + b[name]) / 2) for name in a)
    fetched = {file.removeprefix("org/a/") for file in hub.sent if file.startswith("org/a/")}
    assert fetched == {"README.md", "model_index.json", "unet/config.json", WEIGHTS}
    head = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---")[1])
    assert head["base_model"] == ["org/a", "org/b"] and head["license"] == "openrail++"
    assert "org/a/unet" in (tmp_path / "out/recipe.yaml").read_text()
    for name in ("org/a/unett", "org/m/unet"):
        recipe(tmp_path, name)
        done = python(hub, tmp_path, "-m", "kingyo", "merge", "recipe.yaml", "other", "--dry-run")
        assert done.returncode == 1 and "one model of a diffusers pipeline" in done.stdout + done.stderr


@pytest.mark.slow
def test_loras_and_pickles_come_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    """A LoRA is found by its usual name or its file; pickles are read only without safetensors."""
    base = load_file(tmp_path / "hub/org/a" / WEIGHTS)
    down, up = torch.ones(1, 4, 3, 3), torch.ones(8, 1, 1, 1)
    for name in ("pytorch_lora_weights", "style"):
        (tmp_path / "hub/org" / name).mkdir()
        lora = {"unet.conv_in.lora.down.weight": down, "unet.conv_in.lora.up.weight": up}
        save_file(lora, tmp_path / "hub/org" / name / f"{name}.safetensors")
    old = pipeline(tmp_path / "hub/org/old")
    (old / WEIGHTS).unlink()
    torch.save(base, old / "unet/diffusion_pytorch_model.bin")
    bias = repr(float(base["conv_in.bias"][0]))
    expected = {
        "org/a/unet+org/style": "lora/name.safetensors",
        "org/a/unet+org/pytorch_lora_weights": bias,
        "org/a/unet+org/style/style.safetensors": bias,
        "org/old/unet": bias,
        "org/a/unet+org/style/other.safetensors": "expected",
    }
    done = python(hub, tmp_path, "-c", OPEN, "conv_in.bias", *expected)
    for (reference, says), line in zip(expected.items(), done.stdout.splitlines(), strict=True):
        assert says in line, f"{reference}: {line}"
    assert "org/a/unet/diffusion_pytorch_model.bin" not in hub.sent
    assert "org/old/unet/diffusion_pytorch_model.bin" in hub.sent


def test_a_shard_that_is_missing_around_a_component_is_named(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "pipe")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    encoder = folder / "text_encoder"
    first, second = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    (encoder / "model.safetensors").rename(encoder / first)
    index = {"weight_map": dict.fromkeys(ENCODER, first) | {"x": second}}
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(KingyoError) as error:
        whole_pipeline(open_checkpoint("pipe/unet", tmp_path), tmp_path)
    assert second in error.value.received
    (encoder / first).unlink()
    with pytest.raises(KingyoError) as error:
        whole_pipeline(open_checkpoint("pipe/unet", tmp_path), tmp_path)
    assert error.value.received == "one without text_encoder"
