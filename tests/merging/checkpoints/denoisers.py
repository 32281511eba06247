"""Names of tensors of UNets and diffusion transformers of diffusers, and such models with tiny tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file


@dataclass(frozen=True)
class Unet:
    """A ``UNet2DConditionModel``: which blocks have attention, and layers per block."""

    attention: Sequence[bool]
    layers: int = 2
    depth: int = 1
    outer: Sequence[str] = ("time_embedding.linear_1", "time_embedding.linear_2")

    @property
    def names(self) -> list[str]:
        """All names, sorted, as safetensors stores them."""
        return sorted(f"{module}.{leaf}" for module in self._modules() for leaf in ("weight", "bias"))

    def _modules(self) -> Iterator[str]:
        yield from ("conv_in", "conv_norm_out", "conv_out", *self.outer)
        last = len(self.attention) - 1
        for i, has_attention in enumerate(self.attention):
            yield from self._block(f"down_blocks.{i}", self.layers, has_attention)
            yield from [f"down_blocks.{i}.downsamplers.0.conv"] if i < last else []
        yield from self._block("mid_block", 1, True)
        yield from ("mid_block.resnets.1.conv1",)
        for i, has_attention in enumerate(reversed(self.attention)):
            yield from self._block(f"up_blocks.{i}", self.layers + 1, has_attention)
            yield from [f"up_blocks.{i}.upsamplers.0.conv"] if i < last else []

    def _block(self, prefix: str, layers: int, has_attention: bool) -> Iterator[str]:
        for j in range(layers):
            yield from (f"{prefix}.resnets.{j}.{name}" for name in ("conv1", "norm1", "time_emb_proj"))
            if has_attention:
                yield from (f"{prefix}.attentions.{j}.{name}" for name in ("norm", "proj_in", "proj_out"))
                for k in range(self.depth):
                    block = f"{prefix}.attentions.{j}.transformer_blocks.{k}"
                    yield from (f"{block}.{name}" for name in ("norm1", "ff.net.0.proj", "ff.net.2"))
                    yield from (
                        f"{block}.{attention}.{name}"
                        for attention in ("attn1", "attn2")
                        for name in ("to_q", "to_k", "to_v", "to_out.0")
                    )


SD1 = Unet(attention=(True, True, True, False))
SDXL = Unet(
    attention=(False, True, True),
    depth=3,
    outer=(
        "time_embedding.linear_1",
        "time_embedding.linear_2",
        "add_embedding.linear_1",
        "add_embedding.linear_2",
    ),
)


def flux(double: int, single: int) -> list[str]:
    """A ``FluxTransformer2DModel``."""
    attention = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "to_add_out")
    modules = ["x_embedder", "context_embedder", "norm_out.linear", "proj_out"]
    modules += [f"time_text_embed.{each}.linear_1" for each in ("timestep_embedder", "text_embedder")]
    for i in range(double):
        modules += [f"transformer_blocks.{i}.attn.{each}" for each in attention]
        modules += [f"transformer_blocks.{i}.{each}" for each in ("norm1.linear", "ff.net.0.proj")]
    for i in range(single):
        modules += [f"single_transformer_blocks.{i}.attn.{each}" for each in attention[:3]]
        modules += [
            f"single_transformer_blocks.{i}.{each}" for each in ("norm.linear", "proj_mlp", "proj_out")
        ]
    return sorted(f"{module}.weight" for module in modules)


def single_list(n: int, outer: Sequence[str]) -> list[str]:
    """A transformer with one list of blocks, such as SD3, PixArt and Sana."""
    inner = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj", "norm1.linear")
    blocks = [f"transformer_blocks.{i}.{name}.weight" for i in range(n) for name in inner]
    return sorted([*blocks, *(f"{name}.weight" for name in outer)])


FLUX = flux(3, 12)
SD3 = single_list(
    4, ["pos_embed.proj", "time_text_embed.text_embedder.linear_1", "norm_out.linear", "proj_out"]
)
PIXART = [
    *single_list(4, ["pos_embed.proj", "adaln_single.linear", "caption_projection.linear_1", "proj_out"]),
    "scale_shift_table",
]


def write_denoiser(
    folder: Path, names: Sequence[str], seed: int, class_name: str = "UNet2DConditionModel"
) -> Path:
    """Write a component with random matrices of 4 × 4."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(4, 4, generator=generator) for name in names}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"_class_name": class_name}))
    return folder


def write_lora(folder: Path, modules: Sequence[str], seed: int) -> dict[str, torch.Tensor]:
    """Write a LoRA of rank 2 in kohya's format; return module -> its product."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    products: dict[str, torch.Tensor] = {}
    for module in modules:
        down, up = torch.randn(2, 4, generator=generator), torch.randn(4, 2, generator=generator)
        name = f"lora_unet_{module.replace('.', '_')}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        products[module] = up @ down
    save_file(tensors, folder / "style.safetensors")
    return products
