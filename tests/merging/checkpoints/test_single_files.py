"""Diffusion models in one file: read as sources, written by ``--single-file``, and the errors."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fingerprints_of, open_checkpoint
from kingyo.merging.checkpoints.locate import open_together
from kingyo.merging.checkpoints.single_file import SingleFile
from kingyo.merging.engine import MergeOptions, open_sources
from kingyo.merging.engine.preflight import check_merge, write
from kingyo.merging.recipe import Recipe
from tests.hub import serve
from tests.merging.checkpoints.fitting import restate
from tests.merging.checkpoints.pipelines import Tensors
from tests.models_on_disk import llama
from tests.tiny_pipelines import WRITERS

diffusers = pytest.importorskip("diffusers")

DENOISERS = {
    "stable_diffusion": "unet",
    "stable_diffusion_xl": "unet",
    "stable_diffusion_3": "transformer",
    "flux": "transformer",
}
Library = Callable[[str], Path]
RECIPE = {"merge_method": "linear", "parameters": {"weight": 0.5}}


def recipe(*models: str, base: str | None = None) -> dict[str, object]:
    return RECIPE | {"models": [{"model": each} for each in models]} | ({"base_model": base} if base else {})


def merge(folder: Path, content: dict[str, object], out: str, **options: Any) -> Path:
    """Merge as ``kingyo merge`` does, and return the folder."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(content))
    preflight = check_merge(file, folder / out, MergeOptions(**options))
    if preflight.error is not None:
        raise preflight.error
    return write(preflight, preflight.outputs[0])


def single_file(folder: Path, family: str, name: str = "community", seed: int = 1) -> Path:
    """Write a pipeline and, with ``--single-file``, the same model as one file; return the file."""
    WRITERS[family](folder / f"{name}-pipeline", seed)
    component = f"{name}-pipeline/{DENOISERS[family]}"
    merge(folder, recipe(component), name, pipeline=True, single_file=True)
    return (folder / name / f"{name}.safetensors").rename(folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Return a function that returns a folder with a pipeline of a family, and its single file."""

    @cache
    def made(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        single_file(folder, family)
        return folder

    return made


@pytest.fixture
def sd(tmp_path: Path, library: Library) -> Path:
    """Return a folder to change, with Stable Diffusion 1 as a pipeline and as a single file."""
    return shutil.copytree(library("stable_diffusion"), tmp_path / "sd")


FILE, UNET = "community.safetensors", "community-pipeline/unet"


def weights(folder: Path) -> Tensors:
    return load_file(folder / "diffusion_pytorch_model.safetensors")


def assert_equal(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("family", ["stable_diffusion", "stable_diffusion_xl"])
def test_diffusers_reads_the_same_weights_from_the_file(library: Library, family: str) -> None:
    file, folder = library(family) / FILE, library(family) / "community-pipeline"
    original = diffusers.DiffusionPipeline.from_pretrained(folder)
    again = type(original).from_single_file(str(file), config=str(folder), local_files_only=True)
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if hasattr(original, name):
            assert_equal(getattr(original, name).state_dict(), getattr(again, name).state_dict())


def test_the_text_encoder_of_stable_diffusion_2_has_names_of_open_clip(sd: Path) -> None:
    restate(sd / "community-pipeline/text_encoder", hidden_act="gelu")
    merge(sd, recipe(UNET), "out", pipeline=True, single_file=True)
    again = diffusers.StableDiffusionPipeline.from_single_file(
        str(sd / "out/out.safetensors"), config=str(sd / "out"), local_files_only=True
    )
    original = diffusers.DiffusionPipeline.from_pretrained(sd / "community-pipeline")
    assert_equal(original.text_encoder.state_dict(), again.text_encoder.state_dict())
    assert any("resblocks.0.attn.in_proj_weight" in name for name in load_file(sd / "out/out.safetensors"))


@pytest.mark.parametrize("family", DENOISERS)
def test_the_file_is_mapped_under_the_names_of_diffusers(library: Library, family: str) -> None:
    file = library(family) / FILE
    component = f"community-pipeline/{DENOISERS[family]}"
    opened = open_together([str(file), component], file.parent)
    community, original = opened[str(file)], opened[component]
    assert isinstance(community, SingleFile)
    assert community.path == original.path
    assert community.config == original.config
    assert community.files == {file}
    assert_equal(
        {name: community.read(name) for name in community.tensors},
        {name: original.read(name) for name in original.tensors},
    )
    for name in ("norm_out.linear.weight", "conv_in.weight"):
        if name in original.tensors:
            raw = community.read_raw(name), original.read_raw(name)
            assert raw[0].memory.tobytes() == raw[1].memory.tobytes()


def test_a_base_in_one_file_gets_config_and_pipeline_of_another_model(
    tmp_path: Path, library: Library
) -> None:
    file = str(library("stable_diffusion_xl") / FILE)
    WRITERS["stable_diffusion_xl"](tmp_path / "other", 2)
    content = recipe("other/unet", file, base=file)
    out = merge(tmp_path, content, "out", pipeline=True, single_file=True)
    expected = (weights(Path(file).parent / UNET), weights(tmp_path / "other/unet"))
    for name, tensor in weights(out / "unet").items():
        torch.testing.assert_close(tensor, sum(each[name] for each in expected) / 2)
    again = open_together([str(out / "out.safetensors"), "other/unet"], tmp_path)
    written = weights(out / "unet")
    assert_equal({name: again[str(out / "out.safetensors")].read(name) for name in written}, written)


def test_fingerprints_follow_the_file(sd: Path) -> None:
    parsed = Recipe.from_dict(recipe(UNET, FILE), "recipe")
    before = fingerprints_of(open_sources(parsed, sd).values(), check_finite=True)[FILE]
    assert before == fingerprints_of(open_sources(parsed, sd).values())[FILE]
    tensors = load_file(sd / FILE)
    tensors["model.diffusion_model.out.2.bias"][0] += 1
    save_file(tensors, sd / FILE)
    assert before != fingerprints_of(open_sources(parsed, sd).values())[FILE]


def test_a_denoiser_alone_with_or_without_the_prefix(sd: Path) -> None:
    merge(sd, recipe(UNET), "alone", single_file=True)
    tensors = load_file(sd / "alone/alone.safetensors")
    assert all(name.startswith("model.diffusion_model.") for name in tensors)
    without = {name.removeprefix("model.diffusion_model."): each for name, each in tensors.items()}
    save_file(without, sd / "without.safetensors")
    own = open_checkpoint(UNET, sd)
    for name in ("alone/alone", "without", "alone/diffusion_pytorch_model"):
        assert open_checkpoint(f"{name}.safetensors", sd, among=[own]).tensors.keys() == own.tensors.keys()


def test_pickles_need_permission(sd: Path) -> None:
    torch.save({"state_dict": load_file(sd / FILE)}, sd / "old.ckpt")
    with pytest.raises(KingyoError) as error:
        open_checkpoint("old.ckpt", sd)
    assert "--allow-pickle" in error.value.remedy
    opened, own = open_checkpoint("old.ckpt", sd, allow_pickle=True), open_checkpoint(FILE, sd)
    assert_equal(
        {name: opened.read(name) for name in opened.tensors}, {name: own.read(name) for name in own.tensors}
    )


def without_a_block(tensors: Tensors) -> Tensors:
    return {name: each for name, each in tensors.items() if "output_blocks.11" not in name}


BROKEN = {
    "a LoRA": (
        lambda _: {"lora_unet_x.lora_down.weight": torch.ones(2, 8)},
        "a diffusion model in one file",
        "lora_unet_x",
    ),
    "other blocks": (without_a_block, "models with the same tensors", "up_blocks.3"),
    "no label": (
        lambda all_: {name: each for name, each in all_.items() if "label_emb.0.2" not in name},
        "a complete UNet2DConditionModel",
        "label_emb.0.2",
    ),
    "scaled float8": (
        lambda all_: all_ | {"model.diffusion_model.out.2.scale_weight": torch.ones(1)},
        "weights that can be merged",
        "a quantised model",
    ),
    "nothing": (lambda _: {}, "at least one tensor", "none"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_that_cannot_be_merged_is_one_clear_error(tmp_path: Path, library: Library, how: str) -> None:
    made = library("stable_diffusion_xl" if how == "no label" else "stable_diffusion")
    change, expected, received = BROKEN[how]
    save_file(change(load_file(made / FILE)), tmp_path / FILE)
    with pytest.raises(KingyoError) as error:
        merge(tmp_path, recipe(str(made / UNET), FILE), "out")
    assert expected in error.value.expected
    assert received in error.value.received


def test_only_single_files_offline(tmp_path: Path, library: Library) -> None:
    file = str(library("stable_diffusion") / FILE)
    with pytest.raises(KingyoError) as error:
        merge(tmp_path, recipe(file), "out")
    assert error.value.argument == file
    assert error.value.expected.startswith("a model in diffusers' layout")
    assert "from_single_file" in error.value.remedy


def test_a_complete_model_is_no_lora(sd: Path) -> None:
    with pytest.raises(KingyoError) as error:
        open_checkpoint(f"{UNET}+{FILE}", sd)
    assert error.value.expected == "a part of a LoRA"


@pytest.mark.slow
def test_a_file_on_the_hub_is_previewed_and_downloaded_alone(sd: Path) -> None:
    (sd / "hub/org").mkdir(parents=True)
    shutil.copytree(sd / "community-pipeline", sd / "hub/org/sd")
    (sd / FILE).rename(sd / "hub/org/sd" / FILE)
    (sd / "recipe.yaml").write_text(yaml.safe_dump(recipe(UNET, f"org/sd/{FILE}")))
    with serve(sd / "hub") as hub:
        environment = {**os.environ, **hub.environment(sd / "home")}
        for words in (["--dry-run"], []):
            command = [sys.executable, "-m", "kingyo", "merge", "recipe.yaml", "out", *words]
            subprocess.run(command, cwd=sd, env=environment, capture_output=True, check=True)
            sent = {file for file in hub.sent if file.endswith(".safetensors")}
            assert sent <= {f"org/sd/{FILE}"}
    assert_equal(weights(sd / "out"), weights(sd / UNET))


@pytest.mark.parametrize("model", ["sana/transformer", "m"])
def test_a_model_that_has_no_single_file(tmp_path: Path, model: str) -> None:
    """The names of Sana have no inverse, and a language model is no denoiser."""
    if model == "m":
        llama(tmp_path / "m")
    else:
        WRITERS["sana"](tmp_path / "sana", 1)
    with pytest.raises(KingyoError) as error:
        merge(tmp_path, recipe(model), "out", single_file=True)
    assert error.value.argument == "--single-file"
