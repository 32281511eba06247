"""Pools of training pictures with their scenes, rendered once and kept in the work folder."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pictures import HANDS, Pixels, render
from things import SCENES


@dataclass(frozen=True)
class Pool:
    """Pictures, uint8 [pictures, height, width, channels], and the index of each one's scene in SCENES."""

    pixels: Pixels
    scenes: list[int]

    def values(self, rows: list[int]) -> torch.Tensor:
        """Return pictures as values from -1 to 1: [pictures, channels, height, width]."""
        return to_values(self.pixels[rows])


def to_values(pixels: Pixels) -> torch.Tensor:
    """Return pixels as values from -1 to 1, channels first."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(values: torch.Tensor) -> Pixels:
    """Return values from -1 to 1 as pixels, channels last."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def pool(
    work: Path, name: str, per_scene: int, hands: tuple[str, ...] = HANDS, printed: bool = False
) -> Pool:
    """Return the pool of that name, rendered on the first call: `per_scene` pictures of every scene."""
    kept = work / f"{name}.npy"
    scenes = [i for i in range(len(SCENES)) for _ in range(per_scene)]
    if not kept.exists():
        rng = random.Random(name)
        pixels = np.stack([render(SCENES[i], rng, hands, printed) for i in scenes])
        np.save(kept, pixels)
    return Pool(np.load(kept), scenes)
