"""The print style as a LoRA on the convolutions of the denoiser."""

from __future__ import annotations

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

RANK = 16
CONVOLUTIONS = r".*(conv1|conv2|conv_shortcut|downsamplers\.0\.conv|upsamplers\.0\.conv|conv_in|conv_out)"
ALL = (
    CONVOLUTIONS[:-1]
    + r"|proj_in|proj_out|to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2|time_emb_proj)"
)


def add(denoiser: UNet2DConditionModel, targets: str = CONVOLUTIONS, rank: int = RANK) -> None:
    """Add an untrained LoRA, the only weights that then learn."""
    torch.manual_seed(21)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, init_lora_weights="gaussian")
    denoiser.add_adapter(config)


def is_lora(name: str) -> bool:
    """Return whether a weight belongs to the LoRA."""
    return "lora_" in name


def layers(denoiser: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Return the weights of the LoRA in the names that diffusers saves."""
    return get_peft_model_state_dict(denoiser)


def fused(denoiser: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Fuse the LoRA into the denoiser, which has none afterwards, and return the denoiser's weights."""
    denoiser.fuse_lora()
    denoiser.unload_lora()
    return {name: weight.detach().clone() for name, weight in denoiser.state_dict().items()}
