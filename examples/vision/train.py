"""Train one small vision transformer, from scratch or further."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import ViTConfig, ViTForImageClassification


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Args:
        steps, batch, rate: AdamW; the rate rises for a tenth of the steps, then falls to zero.
        replay: pictures of each batch that are of all domains, as the base was taught.
        seed: of batches and shifts.
    """

    steps: int
    batch: int = 48
    rate: float
    replay: int = 0
    seed: int


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Pictures of one domain as the model takes them, and what it is told of each.

    Args:
        pixels: count x 3 x height x width.
        labels: their places among all labels.
        names: count x labels; true where the picture may have this label, as far as the model is told.
        asked: labels; those among which the model is asked, so that it is not taught to avoid the others.
    """

    pixels: Tensor
    labels: Tensor
    names: Tensor
    asked: Tensor

    def vague(self, groups: Tensor) -> Lesson:
        """Return the same pictures, told only the group of each; ``groups`` is labels x labels."""
        return replace(self, names=groups[self.labels], asked=torch.ones_like(self.asked))


def new_model(labels: Sequence[str], size: int, seed: int) -> ViTForImageClassification:
    """A vision transformer with random weights whose head tells all labels apart."""
    torch.manual_seed(seed)
    return ViTForImageClassification(
        ViTConfig(
            image_size=size,
            patch_size=8,
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=256,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
    )


def train(
    model: nn.Module, own: Sequence[Lesson], replay: Sequence[Lesson], training: Training, name: str
) -> None:
    """Train a model on lessons of its own, and on others so that it changes little there."""
    rng = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, training.steps))
    parts = [(own, training.batch - training.replay), (replay, training.replay)]
    start = time.perf_counter()
    model.train()
    for step in range(1, training.steps + 1):
        pixels, names, asked = _batch([part for part in parts if part[1]], rng)
        loss = _loss(model(pixel_values=pixels).logits.masked_fill(~asked, -torch.inf), names)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == training.steps:
            seconds = time.perf_counter() - start
            print(
                f"{name}: step {step}/{training.steps}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True
            )
    model.eval()


def _loss(logits: Tensor, names: Tensor) -> Tensor:
    """How unlikely the model finds it that one of a picture's possible labels is right, in nats."""
    possible = logits.masked_fill(~names, -torch.inf)
    return (logits.logsumexp(1) - possible.logsumexp(1)).mean()


def _batch(
    parts: Sequence[tuple[Sequence[Lesson], int]], rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pictures, each domain of a part as often as the next, and shift them a little."""
    pixels: list[Tensor] = []
    names: list[Tensor] = []
    asked: list[Tensor] = []
    for lessons, count in parts:
        domains = torch.randint(len(lessons), (count,), generator=rng).tolist()
        for place, lesson in enumerate(lessons):
            chosen = torch.randint(len(lesson.labels), (domains.count(place),), generator=rng)
            pixels.append(lesson.pixels[chosen])
            names.append(lesson.names[chosen])
            asked.append(lesson.asked.expand(len(chosen), -1))
    return _shift(torch.cat(pixels), rng), torch.cat(names), torch.cat(asked)


def _shift(pixels: Tensor, rng: torch.Generator, most: int = 2) -> Tensor:
    """Shift each picture by up to ``most`` pixels; its border is repeated."""
    size = pixels.shape[-1]
    wide = pad(pixels, (most,) * 4, mode="replicate")
    places = torch.randint(2 * most + 1, (len(pixels), 2), generator=rng).tolist()
    return torch.stack(
        [picture[:, y : y + size, x : x + size] for picture, (y, x) in zip(wide, places, strict=True)]
    )


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    return min((step + 1) / warm, (steps - step) / (steps - warm))
