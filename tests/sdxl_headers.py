"""The models of EvoSDXL-JP and Evo-Ukiyoe without weights: configs, headers with real shapes, and LoRAs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.mistrals import Shapes, shapes_of, write_file

SDXL: dict[str, Any] = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
TO_Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
"""A module that LoRAs change: 640 x 640."""


@cache
def shapes() -> Shapes:
    """Name -> shape of the tensors of SDXL's UNet."""
    diffusers = pytest.importorskip("diffusers")
    return shapes_of(lambda: diffusers.UNet2DConditionModel(**SDXL))


def unet(folder: Path, dtype: str = "F16", variant: str = ".fp16") -> Path:
    """Write SDXL's UNet: its config, and a header with holes in place of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"_class_name": "UNet2DConditionModel", **SDXL}
    (folder / "config.json").write_text(json.dumps(config))
    write_file(folder / f"diffusion_pytorch_model{variant}.safetensors", shapes(), dtype)
    return folder


def lightning(folder: Path) -> Path:
    """Write LoRAs in kohya's format for one module, named as those of SDXL-Lightning."""
    folder.mkdir(parents=True)
    name = f"lora_unet_{TO_Q.replace('.', '_')}"
    tensors = {f"{name}.lora_down.weight": torch.zeros(2, 640), f"{name}.lora_up.weight": torch.zeros(640, 2)}
    for steps in (2, 4, 8):
        save_file(
            {**tensors, f"{name}.alpha": torch.tensor(1.0)},
            folder / f"sdxl_lightning_{steps}step_lora.safetensors",
        )
    return folder


def ukiyoe(folder: Path) -> Path:
    """Write a LoRA in diffusers' format, as that of Evo-Ukiyoe, for one module."""
    folder.mkdir(parents=True)
    tensors = {
        f"unet.{TO_Q}.lora_A.weight": torch.zeros(2, 640),
        f"unet.{TO_Q}.lora_B.weight": torch.zeros(640, 2),
    }
    save_file(tensors, folder / "pytorch_lora_weights.safetensors")
    return folder
