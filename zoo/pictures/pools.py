"""Pools of training pictures with their scenes, rendered once and kept in the work folder."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pictures import Pixels, render
from recipes import PER_SCENE
from things import SCENES


@dataclass(frozen=True)
class Pool:
    """Pictures, uint8 [pictures, height, width, channels], and the index of each one's scene in SCENES."""

    pixels: Pixels
    scenes: list[int]


def to_values(pixels: Pixels) -> torch.Tensor:
    """Return pixels as values from -1 to 1, channels first."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(values: torch.Tensor) -> Pixels:
    """Return values from -1 to 1 as pixels, channels last."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def pool(work: Path, style: str) -> Pool:
    """Return the pool of a style, rendered on the first call."""
    file = work / f"{style}.npy"
    scenes = [i for i in range(len(SCENES)) for _ in range(PER_SCENE[style])]
    if not file.exists():
        rng = random.Random(style)
        np.save(file, np.stack([render(SCENES[i], rng, printed=style == "print") for i in scenes]))
    return Pool(np.load(file), scenes)
