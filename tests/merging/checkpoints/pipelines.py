"""A tiny diffusers pipeline: a UNet, a text encoder, components without weights; and tensors of LoRAs."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

UNET = {
    "conv_in.weight": (8, 4, 3, 3),
    "conv_in.bias": (8,),
    "time_embedding.linear_1.weight": (32, 8),
    "down_blocks.0.attentions.0.proj_in.weight": (8, 8, 1, 1),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": (8, 8),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight": (8, 8),
    "down_blocks.0.resnets.0.conv1.weight": (8, 8, 3, 3),
    "down_blocks.0.downsamplers.0.conv.weight": (8, 8, 3, 3),
    "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 6),
    "up_blocks.0.upsamplers.0.conv.weight": (8, 8, 3, 3),
    "mid_block.attentions.0.proj_out.weight": (8, 8),
}
ENCODER = {
    f"text_model.encoder.layers.{i}.self_attn.{each}.weight": (6, 6)
    for i in range(2)
    for each in ("q_proj", "out_proj")
}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": [None, None],
}


def pipeline(folder: Path, seed: int = 0) -> Path:
    """Write a pipeline, with a model card that states a licence."""
    generator = torch.Generator().manual_seed(seed)
    for name, shapes, config, stem in (
        (
            "unet",
            UNET,
            {"_class_name": "UNet2DConditionModel", "layers_per_block": 2},
            "diffusion_pytorch_model",
        ),
        ("text_encoder", ENCODER, {"model_type": "clip_text_model"}, "model"),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
        tensors = {each: torch.randn(shape, generator=generator) for each, shape in shapes.items()}
        save_file(tensors, folder / name / f"{stem}.safetensors", metadata={"format": "pt"})
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n\nA pipeline.\n")
    return folder


RANK = 2
Tensors = dict[str, Tensor]


def pair(shape: tuple[int, ...], seed: int, rank: int = RANK) -> tuple[Tensor, Tensor]:
    """Return random down and up weights; for a convolution, k × k down and 1 × 1 up."""
    generator = torch.Generator().manual_seed(seed)
    outputs, *inputs = shape
    ones = [1] * (len(shape) - 2)
    return torch.randn(rank, *inputs, generator=generator), torch.randn(
        outputs, rank, *ones, generator=generator
    )
