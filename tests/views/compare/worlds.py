"""Models of a few chosen numbers on disk, to be compared."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from kingyo.merging.checkpoints import Checkpoint, open_checkpoint

NAMES = (
    "model.embed_tokens.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.mlp.up_proj.weight",
    "model.layers.1.self_attn.q_proj.weight",
    "model.layers.1.mlp.up_proj.weight",
    "model.norm.weight",
)


def write(folder: Path, tensors: dict[str, Tensor]) -> Checkpoint:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return open_checkpoint(folder.name, folder.parent)


def noise(seed: int, scale: float = 1.0, n: int = 4000) -> dict[str, Tensor]:
    """Normal numbers for every name."""
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(n, generator=generator) for name in NAMES}


def plus(base: dict[str, Tensor], *deltas: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor + sum(delta[name] for delta in deltas) for name, tensor in base.items()}
