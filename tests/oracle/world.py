"""Small Llamas with sizes that no power of two divides, where off-by-one errors of counts and ranks show.

``s0`` … ``s3`` differ from ``base`` everywhere, ``sparse0`` … ``sparse2`` in some entries only (some shared,
some unique: what RAM tells apart).
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tests.models_on_disk import SPECIAL_IDS, VOCABULARY, tokenizer
from tests.oracle.peer import read_tensors

LAYERS = 3
SCALES = {"s0": 0.02, "s1": 0.026, "s2": 0.032, "s3": 0.038}
SHARES = {"sparse0": 0.2, "sparse1": 0.5, "sparse2": 0.7}


@dataclass(frozen=True, kw_only=True)
class World:
    """Folders of models by name."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    @cached_property
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        return {each.name: read_tensors(each) for each in sorted(self.folder.iterdir())}


def make_world(folder: Path, dtype: str) -> World:
    base = write_llama(folder / "base", seed=0, dtype=dtype)
    for seed, (name, scale) in enumerate(SCALES.items(), start=1):
        change(base, folder / name, lambda old, noise, scale=scale: old + scale * noise[0], seed)
    for seed, (name, share) in enumerate(SHARES.items(), start=11):
        change(base, folder / name, lambda old, noise, share=share: _some(old, noise, share), seed)
    return World(folder=folder)


def _some(old: Tensor, noise: tuple[Tensor, Tensor], share: float) -> Tensor:
    return torch.where(noise[1] < share, old + 0.02 * noise[0], old)


def write_llama(
    folder: Path, *, seed: int, dtype: str = "float32", layers: int = LAYERS, tied: bool = False
) -> Path:
    """Write one with random weights everywhere, norms too."""
    config = LlamaConfig(
        vocab_size=VOCABULARY - 3,
        hidden_size=15,
        intermediate_size=13,
        num_hidden_layers=layers,
        num_attention_heads=5,
        num_key_value_heads=5,
        head_dim=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        **SPECIAL_IDS,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = 0.05 * torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(noise + (1 if parameter.ndim == 1 else 0))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def change(
    base: Path, folder: Path, edit: Callable[[Tensor, tuple[Tensor, Tensor]], Tensor], seed: int
) -> Path:
    """Copy a model and edit each tensor by (old in float32, (normal, uniform) noise)."""
    shutil.copytree(base, folder)
    file = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(file)
    for name, old in sorted(tensors.items()):
        noise = torch.randn(old.shape, generator=generator), torch.rand(old.shape, generator=generator)
        tensors[name] = edit(old.float(), noise).to(old.dtype).contiguous()
    save_file(tensors, file, metadata={"format": "pt"})
    return folder
