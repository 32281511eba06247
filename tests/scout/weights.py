"""Small made-up checkpoints, and models that write down which tensors are read of them."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from kingyo.merging.checkpoints import Checkpoint, open_checkpoint

WIDTH = 12
SHAPES: Mapping[str, tuple[int, ...]] = {
    "model.embed_tokens.weight": (20, WIDTH),
    **{
        f"model.layers.{i}.{name}": shape
        for i in range(3)
        for name, shape in {
            "self_attn.q_proj.weight": (WIDTH, WIDTH),
            "mlp.up_proj.weight": (2 * WIDTH, WIDTH),
            "input_layernorm.weight": (WIDTH,),
        }.items()
    },
    "model.norm.weight": (WIDTH,),
}
"""Tensors of a model with three blocks."""


def noise(seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def moved(base: Mapping[str, Tensor], change: Mapping[str, Tensor], by: float = 1.0) -> dict[str, Tensor]:
    return {name: tensor + by * change[name] for name, tensor in base.items()}


def write(folder: Path, tensors: Mapping[str, Tensor]) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 3}))
    return open_checkpoint(str(folder))


def group(folder: Path, n: int = 3) -> tuple[Checkpoint, list[Checkpoint]]:
    """Write a base and members at random distances of 0.1 from it."""
    base = noise(0)
    members = [write(folder / f"m{i}", moved(base, noise(i + 1), 0.1)) for i in range(n)]
    return write(folder / "base", base), members


@dataclass(frozen=True, kw_only=True)
class Watched(Checkpoint):
    """A model that writes a line for each read, and kills its process at one of them.

    Attributes:
        log: file with a line ``reference tensor`` for each read of any model.
        kill_at: number of lines at which the process ends; 0 for never.
    """

    log: Path
    kill_at: int = 0

    def read_rows(self, name: str, start: int, end: int) -> Tensor:
        if self.kill_at and len(reads(self.log)) >= self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with self.log.open("a") as log:
            log.write(f"{self.reference} {name}\n")
        return super().read_rows(name, start, end)


def watched(model: Checkpoint, log: Path, kill_at: int = 0) -> Checkpoint:
    values = {each.name: getattr(model, each.name) for each in fields(model)}
    return Watched(**values, log=log, kill_at=kill_at)


def reads(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def write_lora(folder: Path, module: str, a: Tensor, b: Tensor) -> Path:
    """Write a LoRA of one module in peft's format, with a scale of 1."""
    folder.mkdir()
    parts = {f"base_model.model.{module}.lora_{side}.weight": part for side, part in (("A", a), ("B", b))}
    save_file({name: part.contiguous() for name, part in parts.items()}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": len(a), "lora_alpha": len(a)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
