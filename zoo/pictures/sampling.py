"""Drawing, as StableDiffusionPipeline does it with the DDIM scheduler, many pictures at a time."""

from __future__ import annotations

from collections.abc import Sequence

import tokens
import torch
from autoencoder import CHANNELS, GRID, to_pictures
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from networks import new_scheduler
from pools import Pixels, to_pixels
from transformers import CLIPTextModel

SIGNAL = new_scheduler().alphas_cumprod  # share of signal in the variance at each time step
BATCH = 96


def times(steps: int) -> list[int]:
    """Return the time steps of a drawing, from noise to picture."""
    scheduler = new_scheduler()
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


def noise(seeds: Sequence[int]) -> torch.Tensor:
    """Return each seed's noise: [seeds, channels, 8, 8]."""
    shape = (CHANNELS, GRID, GRID)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])


@torch.inference_mode()
def embed(encoder: CLIPTextModel, captions: Sequence[str]) -> torch.Tensor:
    """Return the states of the captions' tokens: [captions, tokens, width]."""
    return encoder(input_ids=tokens.ids(captions)).last_hidden_state


def step(latents: torch.Tensor, velocity: torch.Tensor, now: int, then: int) -> torch.Tensor:
    """Return the latents of an earlier time step; `then` below 0 is the picture."""
    signal = SIGNAL[now]
    clean = signal.sqrt() * latents - (1 - signal).sqrt() * velocity
    grain = signal.sqrt() * velocity + (1 - signal).sqrt() * latents
    earlier = SIGNAL[then] if then >= 0 else torch.tensor(1.0)
    return earlier.sqrt() * clean + (1 - earlier).sqrt() * grain


def velocity(
    denoiser: UNet2DConditionModel,
    latents: torch.Tensor,
    now: int,
    states: torch.Tensor,
    empty: torch.Tensor | None = None,
    guidance: float = 1.0,
) -> torch.Tensor:
    """Return the predicted velocity, guided away from the empty caption unless guidance is 1."""
    if empty is None or guidance == 1.0:
        return denoiser(latents, now, states).sample
    both = torch.cat([empty.expand_as(states), states])
    without, guided = denoiser(torch.cat([latents, latents]), now, both).sample.chunk(2)
    return without + guidance * (guided - without)


@torch.inference_mode()
def draw(
    denoiser: UNet2DConditionModel,
    states: torch.Tensor,
    latents: torch.Tensor,
    steps: int,
    empty: torch.Tensor | None = None,
    guidance: float = 1.0,
) -> torch.Tensor:
    """Return the latents of pictures drawn from noise."""
    parts: list[torch.Tensor] = []
    chain = times(steps)
    for start in range(0, len(latents), BATCH):
        part, known = latents[start : start + BATCH], states[start : start + BATCH]
        for now, then in zip(chain, [*chain[1:], -1], strict=True):
            part = step(part, velocity(denoiser, part, now, known, empty, guidance), now, then)
        parts.append(part)
    return torch.cat(parts)


@torch.inference_mode()
def paint(autoencoder: AutoencoderTiny, latents: torch.Tensor) -> Pixels:
    """Return the pictures of latents, uint8 with channels last."""
    return to_pixels(torch.cat([to_pictures(autoencoder, part) for part in latents.split(BATCH)]))
