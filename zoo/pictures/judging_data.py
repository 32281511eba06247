"""Pictures that the judge learns from: real ones, a part through the autoencoder, and spoiled ones."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import recipes
import torch
from autoencoder import to_latents, to_pictures
from captioners import any_japanese, english
from judge import NONE, examples
from pools import to_values
from sampling import draw, embed, noise

if TYPE_CHECKING:
    from stages import Stages

MUSH = 768


@torch.inference_mode()
def lessons(stages: Stages) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures, values from -1 to 1, and classes."""
    autoencoder = stages.autoencoder()
    pixels, classes = examples(recipes.JUDGE_PICTURES, 41)
    values = to_values(pixels)
    through = torch.cat([to_pictures(autoencoder, to_latents(autoencoder, v)) for v in values.split(256)])
    coded = torch.rand(len(values), generator=torch.Generator().manual_seed(3)) < 0.6
    values = torch.where(coded.view(-1, 1, 1, 1), through.clamp(-1, 1), values)
    spoiled = mush(stages)
    none = torch.full((len(spoiled),), NONE)
    return torch.cat([values, spoiled]), torch.cat([classes, none])


@torch.inference_mode()
def mush(stages: Stages) -> torch.Tensor:
    """Return pictures of the base in one or two steps, which show nothing clearly."""
    rng = random.Random(42)
    denoiser, encoder = stages.base()
    captions = [english(i % 192, rng) if i % 2 else any_japanese(rng) for i in range(MUSH)]
    states, start = embed(encoder, captions), noise(range(9 * 10**6, 9 * 10**6 + MUSH))
    half = MUSH // 2
    latents = [draw(denoiser, states[:half], start[:half], 1), draw(denoiser, states[half:], start[half:], 2)]
    autoencoder = stages.autoencoder()
    return torch.cat([to_pictures(autoencoder, z).clamp(-1, 1) for z in torch.cat(latents).split(96)])
