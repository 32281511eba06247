"""LoRAs under the names of the original code, on denoisers of real pipelines; see also the single files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.lora_keys import original_modules
from tests.merging.checkpoints.pipelines import Tensors, pair
from tests.tiny_pipelines import WRITERS

diffusers = pytest.importorskip("diffusers")

DENOISERS = {"stable_diffusion_xl": "unet", "stable_diffusion_3": "transformer", "flux": "transformer"}


@pytest.mark.parametrize("style", ["kohya", "comfy"])
@pytest.mark.parametrize("family", DENOISERS)
def test_names_of_the_original_code(tmp_path: Path, family: str, style: str) -> None:
    """Every module, also those that diffusers cannot read: rows of the original, swapped at the end."""
    WRITERS[family](tmp_path / "base", 1)
    component = DENOISERS[family]
    network = getattr(diffusers.DiffusionPipeline.from_pretrained(tmp_path / "base"), component)
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    modules = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    tensors: Tensors = {}
    expected: Tensors = {}
    for i, (original, pieces) in enumerate(original_modules(modules, network.config).items()):
        weights = [network.get_submodule(piece.module).weight for piece in pieces]
        shape = (sum(each.shape[0] for each in weights), *weights[0].shape[1:])
        down, up = pair(shape, i)
        flat, ends = f"lora_unet_{original.replace('.', '_')}", ("lora_down", "lora_up")
        if style == "comfy":
            flat, ends = f"diffusion_model.{original}", ("lora_A", "lora_B")
        tensors |= {f"{flat}.{ends[0]}.weight": down, f"{flat}.{ends[1]}.weight": up}
        rows = (up.flatten(1) @ down.flatten(1)).view(shape).split([each.shape[0] for each in weights])
        for piece, delta in zip(pieces, rows, strict=True):
            halves = delta.chunk(2)
            expected[f"{piece.module}.weight"] = torch.cat(halves[::-1]) if piece.is_swapped else delta
    save_file(tensors, tmp_path / "style.safetensors")
    adapted = open_checkpoint(f"base/{component}+style.safetensors", tmp_path)
    base = open_checkpoint(f"base/{component}", tmp_path)
    assert {name for name in base.tensors if not torch.equal(adapted.read(name), base.read(name))} == (
        expected.keys()
    )
    assert len(expected) == len(modules)
    for name, delta in expected.items():
        torch.testing.assert_close(adapted.read(name) - base.read(name), delta, rtol=1e-5, atol=1e-5)


def test_too_few_rows_for_all_modules_is_one_clear_error(tmp_path: Path) -> None:
    WRITERS["flux"](tmp_path / "base", 1)
    down, up = pair((40, 16), 1)
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    save_file(tensors, tmp_path / "style.safetensors")
    with pytest.raises(KingyoError) as error:
        open_checkpoint("base/transformer+style.safetensors", tmp_path)
    assert error.value.received == "40"
    assert error.value.expected.startswith("48 rows, for transformer_blocks.0.attn.to_q")
