"""Training of denoisers on latents and captions, with velocity prediction."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import recipes
import tokens
import torch
from captioners import english
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from sampling import SIGNAL
from training import train
from transformers import CLIPTextModel

Captioner = Callable[[int, random.Random], str]
"""Writes a caption for the scene of that index."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a model learns.

    Attributes:
        name: key in recipes.SCHEDULES.
        latents: [pictures, channels, 8, 8].
        scenes: the index of each picture's scene.
        captioner: writes the captions.
        teacher: predicts the targets from English captions; without it they are those of the latents.
    """

    name: str
    latents: torch.Tensor
    scenes: Sequence[int]
    captioner: Captioner
    teacher: UNet2DConditionModel | None = None


def noised(clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return noisy latents, their time steps and their velocities."""
    at = torch.randint(len(SIGNAL), (len(clean),))
    signal = SIGNAL[at].view(-1, 1, 1, 1)
    grain = torch.randn_like(clean)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * grain
    return noisy, at, signal.sqrt() * grain - (1 - signal).sqrt() * clean


def learn(
    denoiser: UNet2DConditionModel, encoder: CLIPTextModel, lesson: Lesson, with_encoder: bool = False
) -> None:
    """Train the denoiser's weights that require gradients, and the text encoder if `with_encoder` is set."""
    schedule = recipes.SCHEDULES[lesson.name]
    torch.manual_seed(schedule.seed)
    rng = random.Random(schedule.seed)
    encoder.requires_grad_(with_encoder)

    def loss() -> torch.Tensor:
        rows = torch.randint(len(lesson.scenes), (schedule.batch,))
        scenes = [lesson.scenes[row] for row in rows.tolist()]
        captions = [lesson.captioner(scene, rng) for scene in scenes]
        noisy, at, velocity = noised(lesson.latents[rows])
        with torch.set_grad_enabled(with_encoder):
            states = encoder(input_ids=tokens.ids(captions)).last_hidden_state
        if lesson.teacher is not None:
            with torch.no_grad():
                known = tokens.ids([english(scene, rng) for scene in scenes])
                velocity = lesson.teacher(noisy, at, encoder(input_ids=known).last_hidden_state).sample
        return (denoiser(noisy, at, states).sample - velocity).square().mean()

    weights = [*denoiser.parameters(), *encoder.parameters()]
    train(lesson.name, [weight for weight in weights if weight.requires_grad], schedule, loss)
