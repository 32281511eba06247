"""The print style as a LoRA on the convolutions of the denoiser."""

from __future__ import annotations

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

RANK = 16
CONVOLUTIONS = r".*(conv1|conv2|conv_shortcut|downsamplers\.0\.conv|upsamplers\.0\.conv|conv_in|conv_out)"


def add(denoiser: UNet2DConditionModel) -> None:
    """Add an untrained LoRA, and freeze the other weights."""
    torch.manual_seed(21)
    denoiser.requires_grad_(False)
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=CONVOLUTIONS, init_lora_weights="gaussian")
    denoiser.add_adapter(config)


def layers(denoiser: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Return the weights of the LoRA in the names that diffusers saves."""
    return get_peft_model_state_dict(denoiser)


def fused(denoiser: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Fuse the LoRA into the denoiser, which has none afterwards, and return the denoiser's weights."""
    denoiser.fuse_lora()
    denoiser.unload_lora()
    return {name: weight.detach().clone() for name, weight in denoiser.state_dict().items()}
