"""The tower that sees: a small SigLIP, trained alone to name what is in each cell, then frozen."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import numpy as np
import torch
from pictures import CELL, SIZE
from PIL import Image
from scenes import Scene
from things import COLOURS, KINDS
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

WIDTH = 64
SEED = 5


def config() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH * 3,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=CELL,
        vision_use_head=False,
    )


def pixels(images: Sequence[Image.Image]) -> torch.Tensor:
    """What the shipped processor gives: channels first, from -1 to 1."""
    stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def labels(scene: Scene) -> tuple[list[int], list[int]]:
    """Per cell: what lies there (the last class is nothing), and the colour of the board."""
    nothing = len(KINDS)
    kinds = [kind for board in scene for kind in (nothing, nothing, board.kind)]
    return kinds, [board.colour for board in scene for _ in range(3)]


class Heads(nn.Module):
    """Linear readers of a cell; used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.readers = nn.ModuleList([nn.Linear(WIDTH, len(KINDS) + 1), nn.Linear(WIDTH, len(COLOURS))])

    def forward(self, states: torch.Tensor) -> list[torch.Tensor]:
        return [reader(states) for reader in self.readers]


def states(tower: SiglipVisionModel, values: torch.Tensor) -> torch.Tensor:
    """The last layer's states, which LLaVA reads: (pictures, cells, width)."""
    return tower(values, output_hidden_states=True).hidden_states[-1]


def train(
    steps: int, scenes: Sequence[Scene], values: torch.Tensor, repainted: torch.Tensor, batch: int = 64
) -> tuple[SiglipVisionModel, Heads]:
    """Two steps of three see the boards repainted in any paint, where only the things are learned."""
    torch.manual_seed(SEED)
    tower, heads = SiglipVisionModel(config()), Heads()
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    truth = [torch.tensor(rows) for rows in zip(*[labels(scene) for scene in scenes], strict=True)]
    rng, started = random.Random(SEED), time.time()
    for step in range(steps):
        chosen = torch.tensor(rng.sample(range(len(scenes)), batch))
        named = step % 3 == 0
        shown = values[chosen] if named else repainted[chosen + rng.choice((0, len(scenes)))]
        readings = heads(states(tower, shown))
        losses = [
            nn.functional.cross_entropy(reading.flatten(0, 1), right[chosen].flatten())
            for reading, right in zip(readings, truth, strict=True)
        ]
        loss = torch.stack(losses if named else losses[:1]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 200 == 0:
            print(
                f"tower: step {step + 1}, loss {loss.item():.4f}, {time.time() - started:.0f} s", flush=True
            )
    return tower.eval(), heads.eval()


@torch.inference_mode()
def report(
    tower: SiglipVisionModel, heads: Heads, scenes: Sequence[Scene], values: torch.Tensor, name: str
) -> None:
    """Prints the share of pictures whose every cell is read right."""
    truth = [torch.tensor(rows) for rows in zip(*[labels(scene) for scene in scenes], strict=True)]
    readings = heads(states(tower, values))
    right = [(reading.argmax(-1) == t).all(1) for reading, t in zip(readings, truth, strict=True)]
    shares = ", ".join(f"{r.float().mean():.3f}" for r in right)
    whole = torch.stack(right).all(0).float().mean()
    print(f"tower on {name}: things, colours {shares}; all {whole:.3f}, n = {len(scenes)}", flush=True)


@torch.inference_mode()
def features(tower: SiglipVisionModel, values: torch.Tensor) -> torch.Tensor:
    return torch.cat([states(tower, chunk) for chunk in values.split(500)])
