"""Distillation to few steps: a student learns the teacher's guided drawings of many steps."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import torch
from captioners import english
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from recipes import Schedule
from sampling import BATCH, SIGNAL, embed, noise, step, times, velocity
from things import SCENES
from transformers import CLIPTextModel

STEPS, SUBSTEPS, GUIDANCE = 4, 4, 2.5


@dataclass(frozen=True)
class Drawings:
    """The teacher's states: latents [drawings, STEPS + 1, ...] from noise to picture, and captions."""

    latents: torch.Tensor
    captions: list[str]


@torch.inference_mode()
def teach(teacher: UNet2DConditionModel, encoder: CLIPTextModel, count: int, seed: int) -> Drawings:
    """Return drawings of the teacher with guidance, for English captions of all scenes."""
    rng, started = random.Random(seed), time.process_time()
    captions = [english(i % len(SCENES), rng) for i in range(count)]
    start = noise(range(10**6 * seed, 10**6 * seed + count))
    parts: list[torch.Tensor] = []
    for first in range(0, count, BATCH):
        states = embed(encoder, captions[first : first + BATCH])
        parts.append(_drawn(teacher, start[first : first + BATCH], states, embed(encoder, [""])))
    print(f"teacher: {count} drawings, {time.process_time() - started:.0f} s", flush=True)
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


def wanted(before: torch.Tensor, after: torch.Tensor, stage: torch.Tensor) -> torch.Tensor:
    """Return the velocity with which one step of the student leads to the teacher's next state."""
    chain = torch.tensor([*times(STEPS), -1])
    now, then = chain[stage], chain[stage + 1]
    signal, earlier = SIGNAL[now], torch.where(then >= 0, SIGNAL[then.clamp(min=0)], torch.tensor(1.0))
    a, b, c, d = (x.sqrt().view(-1, 1, 1, 1) for x in (signal, 1 - signal, earlier, 1 - earlier))
    return (after - (c * a + d * b) * before) / (d * a - c * b)


def distil(
    student: UNet2DConditionModel,
    encoder: CLIPTextModel,
    drawings: Drawings,
    schedule: Schedule,
) -> None:
    """Train the student in place at the STEPS time steps of its drawings."""
    torch.manual_seed(schedule.seed)
    student.requires_grad_(True)
    weights = list(student.parameters())
    states = torch.cat(
        [embed(encoder, drawings.captions[i : i + 512]) for i in range(0, len(drawings.captions), 512)]
    )
    states, chain = states.clone(), torch.tensor(times(STEPS))
    optimizer = torch.optim.AdamW(weights, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.rate,
        total_steps=schedule.steps,
        pct_start=0.08,
        div_factor=10,
        final_div_factor=20,
    )
    started, smooth = time.process_time(), None
    for number in range(schedule.steps):
        rows, stage = (
            torch.randint(len(drawings.captions), (schedule.batch,)),
            torch.randint(STEPS, (schedule.batch,)),
        )
        before, after = drawings.latents[rows, stage], drawings.latents[rows, stage + 1]
        guess = student(before, chain[stage], states[rows]).sample
        loss = (guess - wanted(before, after, stage)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        rates.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (number + 1) % 100 == 0:
            took = time.process_time() - started
            print(f"fast: step {number + 1}/{schedule.steps}, loss {smooth:.4f}, {took:.0f} s", flush=True)
    student.requires_grad_(False)
