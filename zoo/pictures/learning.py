"""Training of denoisers on latents and captions, with velocity prediction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tokens
import torch
from captioners import english
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from sampling import SIGNAL
from transformers import CLIPTextModel

Captioner = Callable[[int, random.Random], str]
"""Writes a caption for the scene of that index."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What to learn: latents, the index of each one's scene, captions, and which weights."""

    latents: torch.Tensor
    scenes: Sequence[int]
    captioner: Captioner
    steps: int
    rate: float
    seed: int
    batch: int = 96
    learns: Callable[[str], bool]
    average: float = 0.0  # decay of the moving average of the weights, 0 for none
    teacher: UNet2DConditionModel | None = None  # whose drawings from English captions are to be learned


def noised(clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return noisy latents, their time steps and their velocities."""
    at = torch.randint(len(SIGNAL), (len(clean),))
    signal = SIGNAL[at].view(-1, 1, 1, 1)
    grain = torch.randn_like(clean)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * grain
    return noisy, at, signal.sqrt() * grain - (1 - signal).sqrt() * clean


@torch.no_grad()
def taught(
    teacher: UNet2DConditionModel,
    encoder: CLIPTextModel,
    scenes: list[int],
    noise: tuple[torch.Tensor, torch.Tensor],
    rng: random.Random,
) -> torch.Tensor:
    """Return the velocities that the teacher predicts from English captions: targets with less noise."""
    texts = [english(scene, rng) for scene in scenes]
    ids = tokens.build()(texts, padding="max_length", return_tensors="pt").input_ids
    return teacher(*noise, encoder(input_ids=ids).last_hidden_state).sample


def learn(
    denoiser: UNet2DConditionModel,
    encoder: CLIPTextModel,
    lesson: Lesson,
    name: str,
    with_encoder: bool = False,
    watch: Callable[[int], None] | None = None,
) -> None:
    """Train in place; print progress. The text encoder learns too where `with_encoder` is set."""
    torch.manual_seed(lesson.seed)
    rng, tokenizer = random.Random(lesson.seed), tokens.build()
    for key, weight in denoiser.named_parameters():
        weight.requires_grad_(lesson.learns(key))
    encoder.requires_grad_(with_encoder)
    modules = [denoiser, encoder] if with_encoder else [denoiser]
    weights = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=lesson.rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lesson.rate, total_steps=lesson.steps, pct_start=0.08, div_factor=10, final_div_factor=20
    )
    averages = [weight.detach().clone() for weight in weights] if lesson.average else []
    started, smooth = time.process_time(), None
    for step in range(lesson.steps):
        rows = torch.randint(len(lesson.scenes), (lesson.batch,))
        shown = [lesson.scenes[row] for row in rows.tolist()]
        texts = [lesson.captioner(scene, rng) for scene in shown]
        ids = tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
        noisy, at, velocity = noised(lesson.latents[rows])
        with torch.set_grad_enabled(with_encoder):
            states = encoder(input_ids=ids).last_hidden_state
        if lesson.teacher is not None:
            velocity = taught(lesson.teacher, encoder, shown, (noisy, at), rng)
        loss = (denoiser(noisy, at, states).sample - velocity).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if averages:
            for average, weight in zip(averages, weights, strict=True):
                average.lerp_(weight.detach(), 1 - lesson.average)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            took = time.process_time() - started
            print(f"{name}: step {step + 1}/{lesson.steps}, loss {smooth:.4f}, {took:.0f} s", flush=True)
            if watch is not None:
                watch(step + 1)
    for weight, average in zip(weights, averages, strict=False):
        weight.data.copy_(average)
    denoiser.requires_grad_(False)
    encoder.requires_grad_(False)
