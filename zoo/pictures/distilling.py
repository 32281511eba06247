"""Distillation to few steps: a student learns the teacher's guided drawings of many steps."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import recipes
import torch
from captioners import english
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from sampling import BATCH, SIGNAL, embed, noise, step, times, velocity
from things import SCENES
from training import train
from transformers import CLIPTextModel

STEPS, SUBSTEPS, GUIDANCE = 4, 4, 2.5
SCHEDULE = recipes.SCHEDULES["fast"]


@dataclass(frozen=True)
class Drawings:
    """The teacher's states: latents [drawings, STEPS + 1, ...] from noise to picture, and captions."""

    latents: torch.Tensor
    captions: list[str]


@torch.inference_mode()
def teach(teacher: UNet2DConditionModel, encoder: CLIPTextModel) -> Drawings:
    """Return drawings of the teacher with guidance, for English captions of all scenes."""
    rng, started = random.Random(SCHEDULE.seed), time.process_time()
    captions = [english(i % len(SCENES), rng) for i in range(recipes.TAUGHT)]
    start = noise(range(10**6 * SCHEDULE.seed, 10**6 * SCHEDULE.seed + recipes.TAUGHT))
    parts: list[torch.Tensor] = []
    for first in range(0, len(captions), BATCH):
        states = embed(encoder, captions[first : first + BATCH])
        parts.append(_drawn(teacher, start[first : first + BATCH], states, embed(encoder, [""])))
    print(f"teacher: {len(captions)} drawings, {time.process_time() - started:.0f} s", flush=True)
    return Drawings(torch.cat(parts), captions)


def _drawn(
    teacher: UNet2DConditionModel, latents: torch.Tensor, states: torch.Tensor, empty: torch.Tensor
) -> torch.Tensor:
    chain = times(STEPS * SUBSTEPS)
    kept = [latents]
    for i, (now, then) in enumerate(zip(chain, [*chain[1:], -1], strict=True)):
        latents = step(latents, velocity(teacher, latents, now, states, empty, GUIDANCE), now, then)
        if (i + 1) % SUBSTEPS == 0:
            kept.append(latents)
    return torch.stack(kept, 1)


def target(before: torch.Tensor, after: torch.Tensor, stage: torch.Tensor) -> torch.Tensor:
    """Return the velocity with which one step of the student leads to the teacher's next state."""
    chain = torch.tensor([*times(STEPS), -1])
    now, then = chain[stage], chain[stage + 1]
    signal, earlier = SIGNAL[now], torch.where(then >= 0, SIGNAL[then.clamp(min=0)], torch.tensor(1.0))
    a, b, c, d = (x.sqrt().view(-1, 1, 1, 1) for x in (signal, 1 - signal, earlier, 1 - earlier))
    return (after - (c * a + d * b) * before) / (d * a - c * b)


def distil(student: UNet2DConditionModel, encoder: CLIPTextModel, drawings: Drawings) -> None:
    """Train the student in place at the STEPS time steps of its drawings."""
    torch.manual_seed(SCHEDULE.seed)
    captions = drawings.captions
    states = torch.cat([embed(encoder, captions[i : i + 512]) for i in range(0, len(captions), 512)]).clone()
    chain = torch.tensor(times(STEPS))

    def loss() -> torch.Tensor:
        rows = torch.randint(len(captions), (SCHEDULE.batch,))
        stage = torch.randint(STEPS, (SCHEDULE.batch,))
        before, after = drawings.latents[rows, stage], drawings.latents[rows, stage + 1]
        predicted = student(before, chain[stage], states[rows]).sample
        return (predicted - target(before, after, stage)).square().mean()

    train("fast", list(student.parameters()), SCHEDULE, loss)
