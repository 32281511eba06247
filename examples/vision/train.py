"""Train one small vision transformer, from scratch or further."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from transformers import ViTConfig, ViTForImageClassification


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Args:
        steps, batch, rate: AdamW; the rate rises for a tenth of the steps, then falls to zero.
        own: share of each batch from the model's own domain; the rest are the few pictures of all.
        seed: of batches and shifts.
    """

    steps: int
    batch: int = 48
    rate: float = 1e-3
    own: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Pictures of one domain as the model takes them (count x 3 x height x width), and their labels."""

    pixels: Tensor
    labels: Tensor

    def few(self, count: int) -> Lesson:
        """Return the first ``count`` pictures of each label."""
        chosen = torch.cat([torch.where(self.labels == label)[0][:count] for label in self.labels.unique()])
        return Lesson(pixels=self.pixels[chosen], labels=self.labels[chosen])


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
    model: nn.Module, own: Sequence[Lesson], few: Sequence[Lesson], training: Training, name: str
) -> None:
    """Train a model on its own domain, and on a few pictures of all so that it forgets none."""
    rng = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, training.steps))
    n_own = round(training.batch * training.own)
    start = time.perf_counter()
    model.train()
    for step in range(1, training.steps + 1):
        parts = [(own, n_own), (few, training.batch - n_own)]
        pixels, labels = _batch([part for part in parts if part[1]], rng)
        loss = cross_entropy(model(pixel_values=pixels).logits, labels, label_smoothing=0.05)
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


def _batch(parts: Sequence[tuple[Sequence[Lesson], int]], rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pictures, each domain of a part as often as the next, and shift them a little."""
    pixels: list[Tensor] = []
    labels: list[Tensor] = []
    for lessons, count in parts:
        domains = torch.randint(len(lessons), (count,), generator=rng).tolist()
        for place, lesson in enumerate(lessons):
            chosen = torch.randint(len(lesson.labels), (domains.count(place),), generator=rng)
            pixels.append(lesson.pixels[chosen])
            labels.append(lesson.labels[chosen])
    return _shift(torch.cat(pixels), rng), torch.cat(labels)


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
