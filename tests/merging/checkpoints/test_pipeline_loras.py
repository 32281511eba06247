"""LoRAs of real pipelines, merged by kingyo, equal those that diffusers loads and fuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.lora_keys import original_modules
from kingyo.merging.engine import open_sources, plan
from kingyo.merging.engine.jobs import compute
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.pipelines import Tensors, pair
from tests.slow import slow
from tests.tiny_pipelines import WRITERS

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

RANK, ALPHA, STRENGTH = 4, 3.0, 0.7
FAMILIES = {"stable_diffusion": "unet", "stable_diffusion_xl": "unet", "flux": "transformer"}


def modules_of(network: torch.nn.Module) -> list[str]:
    """Return the names of linear layers and convolutions."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [name for name, module in network.named_modules() if isinstance(module, kinds)]


def encoders_of(pipeline: Any) -> Iterator[tuple[str, str]]:
    """Yield names of text encoders that diffusers has LoRAs for, and of some of their modules.

    With transformers 5, diffusers 0.42 drops kohya's LoRAs of their attention, with a warning.
    """
    for encoder in {"text_encoder", "text_encoder_2"} & set(pipeline._lora_loadable_modules):
        for name, _ in getattr(pipeline, encoder).named_modules():
            if name.endswith("fc1"):
                yield encoder, name


def fused(pipeline: Any, file: Path, components: list[str]) -> dict[str, Tensors]:
    """Return the weights of components after diffusers has loaded and fused a file."""
    pipeline.load_lora_weights(file)
    pipeline.fuse_lora(components=components, lora_scale=STRENGTH)
    pipeline.unload_lora_weights()
    return {name: getattr(pipeline, name).state_dict() for name in components}


def merged(folder: Path, component: str) -> Tensors:
    """Return the weights of ``base + STRENGTH × (base with LoRA - base)``, as a recipe merges them."""
    base = f"base/{component}"
    recipe = Recipe.from_dict(
        {
            "merge_method": "task_arithmetic",
            "base_model": base,
            "models": [{"model": f"{base}+style.safetensors", "parameters": {"weight": STRENGTH}}],
        },
        "recipe",
    )
    planned = plan(recipe, open_sources(recipe, folder))
    return {job.name: compute(job, planned.sources.read) for job in planned.jobs}


def assert_as_fused(folder: Path, expected: dict[str, Tensors], n_changed: dict[str, int]) -> None:
    for component, weights in expected.items():
        base = open_checkpoint(f"base/{component}", folder)
        changed = 0
        for name, tensor in merged(folder, component).items():
            own = weights[name] if name in weights else weights[name.removeprefix("text_model.")]
            torch.testing.assert_close(tensor, own, rtol=1e-5, atol=1e-5)
            changed += not torch.allclose(tensor, base.read(name), atol=1e-4)
        assert changed == n_changed[component]


def kohya_lora(pipeline: Any, denoiser: str, originals: dict[str, tuple[str, ...]]) -> Tensors:
    """Return a LoRA of kohya's scripts: of original modules, and of text encoders."""
    tensors: Tensors = {}
    network = getattr(pipeline, denoiser)
    for i, (original, modules) in enumerate(originals.items()):
        weights = [network.get_submodule(each).weight for each in modules]
        shape = (sum(each.shape[0] for each in weights), *weights[0].shape[1:])
        add_kohya(tensors, f"lora_unet_{original}", shape, i)
    encoders = list(encoders_of(pipeline))
    numbers = {"text_encoder": "1" if len({each for each, _ in encoders}) > 1 else "", "text_encoder_2": "2"}
    for i, (encoder, name) in enumerate(encoders):
        shape = getattr(pipeline, encoder).get_submodule(name).weight.shape
        full = f"text_model.{name.removeprefix('text_model.')}"
        add_kohya(tensors, f"lora_te{numbers[encoder]}_{full}", tuple(shape), 1000 + i)
    return tensors


def add_kohya(tensors: Tensors, name: str, shape: tuple[int, ...], seed: int) -> None:
    down, up = pair(shape, seed, RANK)
    flat = name.replace(".", "_")
    tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": 0.1 * up}
    tensors[f"{flat}.alpha"] = torch.tensor(ALPHA)  # diffusers 0.42 ignores a second alpha of attention


def names_for(family: str, network: Any) -> dict[str, tuple[str, ...]]:
    """Return the names that kohya's scripts write -> the modules, for those that diffusers reads."""
    modules = modules_of(network)
    if family == "stable_diffusion":
        return {module: (module,) for module in modules}
    # constants of Flux's width; modules outside of blocks lack "transformer." and are dropped with a warning
    broken = ("linear1", "_in.", "_in", "final_layer") if family == "flux" else ()
    return {
        name: tuple(piece.module for piece in pieces)
        for name, pieces in original_modules(modules, network.config).items()
        if not any(each in name for each in broken)
    }


@pytest.mark.parametrize("family", ["stable_diffusion_xl", *slow("stable_diffusion", "flux")])
def test_kohya_format_with_text_encoders(tmp_path: Path, family: str) -> None:
    denoiser = FAMILIES[family]
    WRITERS[family](tmp_path / "base", 1)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "base")
    names = names_for(family, getattr(pipeline, denoiser))
    save_file(kohya_lora(pipeline, denoiser, names), tmp_path / "style.safetensors")
    encoders = [each for each, _ in encoders_of(pipeline)]
    n_changed = {each: encoders.count(each) for each in encoders}
    n_changed[denoiser] = sum(len(modules) for modules in names.values())
    assert_as_fused(tmp_path, fused(pipeline, tmp_path / "style.safetensors", sorted(n_changed)), n_changed)


@pytest.mark.parametrize("style", ["kohya", "comfy"])
@pytest.mark.parametrize("family", ["flux", "stable_diffusion_3"])
def test_names_of_transformers_in_the_original_code(tmp_path: Path, family: str, style: str) -> None:
    """Every module, also those that diffusers cannot read: rows of the original, swapped at the end."""
    WRITERS[family](tmp_path / "base", 1)
    network = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "base").transformer
    modules = modules_of(network)
    tensors: Tensors = {}
    expected: Tensors = {}
    for i, (original, pieces) in enumerate(original_modules(modules, network.config).items()):
        weights = [network.get_submodule(piece.module).weight for piece in pieces]
        shape = (sum(each.shape[0] for each in weights), *weights[0].shape[1:])
        down, up = pair(shape, i, RANK)
        flat, ends = f"lora_unet_{original.replace('.', '_')}", ("lora_down", "lora_up")
        if style == "comfy":
            flat, ends = f"diffusion_model.{original}", ("lora_A", "lora_B")
        tensors |= {f"{flat}.{ends[0]}.weight": down, f"{flat}.{ends[1]}.weight": up}
        rows = (up.flatten(1) @ down.flatten(1)).view(shape).split([each.shape[0] for each in weights])
        for piece, delta in zip(pieces, rows, strict=True):
            halves = delta.chunk(2)
            expected[f"{piece.module}.weight"] = torch.cat(halves[::-1]) if piece.is_swapped else delta
    save_file(tensors, tmp_path / "style.safetensors")
    adapted = open_checkpoint("base/transformer+style.safetensors", tmp_path)
    base = open_checkpoint("base/transformer", tmp_path)
    assert {name for name in base.tensors if not torch.equal(adapted.read(name), base.read(name))} == (
        expected.keys()
    )
    assert len(expected) == len(modules)
    for name, delta in expected.items():
        torch.testing.assert_close(adapted.read(name) - base.read(name), delta, rtol=1e-5, atol=1e-5)


def test_too_few_rows_for_all_modules_is_one_clear_error(tmp_path: Path) -> None:
    WRITERS["flux"](tmp_path / "base", 1)
    tensors: Tensors = {}
    add_kohya(tensors, "lora_unet_double_blocks.0.img_attn.qkv", (40, 16), 1)
    save_file(tensors, tmp_path / "style.safetensors")
    with pytest.raises(KingyoError) as error:
        open_checkpoint("base/transformer+style.safetensors", tmp_path)
    assert error.value.received == "40"
    assert error.value.expected.startswith("48 rows, for transformer_blocks.0.attn.to_q")
