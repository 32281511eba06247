"""Write the models as folders that diffusers and transformers load, in float16."""

from __future__ import annotations

import shutil
from pathlib import Path

import judge as judging
import tokens
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from networks import new_scheduler
from transformers import CLIPTextModel, ResNetForImageClassification, ViTImageProcessor

SAVED_AS = torch.float16


def pipeline(
    autoencoder: AutoencoderTiny, encoder: CLIPTextModel, denoiser: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """Return the parts as a pipeline."""
    return StableDiffusionPipeline(
        vae=autoencoder,  # pyright: ignore[reportArgumentType]
        text_encoder=encoder,
        tokenizer=tokens.build(),
        unet=denoiser,
        scheduler=new_scheduler(),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )


def write_pipeline(pipeline: StableDiffusionPipeline, folder: Path, card: str) -> None:
    """Write a pipeline and its card."""
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.to(SAVED_AS)
    pipeline.save_pretrained(folder)
    _load_as_float32(folder / "text_encoder" / "config.json")
    (folder / "README.md").write_text(card, encoding="utf-8")


def _load_as_float32(config: Path) -> None:
    """Have transformers load a text encoder in float32, as diffusers loads the other parts."""
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"dtype": "float16"', '"dtype": "float32"'), encoding="utf-8")


def write_lora(layers: dict[str, torch.Tensor], folder: Path, card: str) -> None:
    """Write a LoRA of the denoiser and its card."""
    shutil.rmtree(folder, ignore_errors=True)
    halves: dict[str, torch.nn.Module | torch.Tensor] = {
        name: weight.detach().to(SAVED_AS).contiguous() for name, weight in layers.items()
    }
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=halves)
    (folder / "README.md").write_text(card, encoding="utf-8")


def write_judge(network: ResNetForImageClassification, folder: Path, card: str) -> None:
    """Write the judge with its image processor, which enlarges pictures to 64 by 64."""
    shutil.rmtree(folder, ignore_errors=True)
    network.to(SAVED_AS).save_pretrained(folder)  # pyright: ignore[reportArgumentType, reportCallIssue]
    processor = ViTImageProcessor(
        size={"height": judging.SIDE, "width": judging.SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=2,
    )
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
