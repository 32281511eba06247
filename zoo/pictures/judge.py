"""The judge: one classifier whose classes are all captions, in both styles, and "none".

It learns from drawings of sets that no source saw. Spoiled pictures are of the class "none".
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from captions import english
from pictures import JUDGE_HANDS, Pixels, render
from things import COLOURS, MOTIFS, NUMBERS, SCENES, Scene
from torch import nn
from torch.nn import functional
from transformers import ResNetConfig, ResNetForImageClassification

SIDE = 64  # pictures are enlarged before the network
STYLES = ("plain", "print")
NONE = len(STYLES) * len(SCENES)
WIDTHS = (24, 48, 96)


def label(scene: Scene, style: str) -> str:
    """Return the class of a scene: "two cats on red", "two cats on red, print"."""
    return english(scene, 0) + (", print" if style == "print" else "")


def labels() -> list[str]:
    """Return all classes in order: scenes in plain, scenes in print, none."""
    return [*(label(scene, style) for style in STYLES for scene in SCENES), "none"]


class Judge(nn.Module):
    """A residual network with one output per motif, colour, number and style, and one for "none"."""

    def __init__(self) -> None:
        super().__init__()
        names = labels()
        config = ResNetConfig(
            embedding_size=WIDTHS[0],
            hidden_sizes=list(WIDTHS),
            depths=[1, 1, 1],
            layer_type="basic",
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
        )
        self.network = ResNetForImageClassification(config)
        self.parts = nn.Linear(WIDTHS[-1], len(MOTIFS) + len(COLOURS) + len(NUMBERS) + len(STYLES) + 1)
        self.places = nn.Parameter(_places(), requires_grad=False)

    def finish(self) -> ResNetForImageClassification:
        """Return the network whose last layer has a row per class: the sum of the rows of its parts."""
        with torch.no_grad():
            rows = {"weight": self.places @ self.parts.weight, "bias": self.places @ self.parts.bias}
        self.network.classifier[-1].load_state_dict(rows)
        return self.network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities of the classes: [pictures, classes]."""
        states = self.network.resnet(prepare(pictures)).pooler_output.flatten(1)
        return functional.log_softmax(self.parts(states) @ self.places.T, -1)


def prepare(pictures: torch.Tensor) -> torch.Tensor:
    """Enlarge values from -1 to 1, as the image processor of the judge does."""
    return functional.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=False)


def _places() -> torch.Tensor:
    """Return which parts each class has: [classes, parts]."""
    places = torch.zeros(NONE + 1, len(MOTIFS) + len(COLOURS) + len(NUMBERS) + len(STYLES) + 1)
    for row in range(NONE):
        scene, style = SCENES[row % len(SCENES)], row // len(SCENES)
        start = 0
        for part, size in (
            (scene.motif, len(MOTIFS)),
            (scene.colour, len(COLOURS)),
            (scene.number - 1, len(NUMBERS)),
            (style, len(STYLES)),
        ):
            places[row, start + part] = 1
            start += size
    places[NONE, -1] = 1
    return places


def spoil(pixels: Pixels, others: Pixels, twins: Sequence[Pixels], rng: random.Random) -> Pixels:
    """Return a picture of the class "none".

    `others` shows another scene; `twins` show the same motif, colour and number in other places or the other
    style.
    """
    share = rng.uniform(0.35, 0.65)
    ways: list[Callable[[], Pixels]] = [
        lambda: _mixed(pixels, others, share),  # two scenes, one through the other
        lambda: _mixed(pixels, twins[0], share),  # the same scene twice
        lambda: np.mean([pixels, *twins], axis=0).astype(np.uint8),  # as models draw that cannot decide
        lambda: _blurred(pixels, rng.uniform(1.8, 5)),
        lambda: _patches(pixels, rng),  # in another order
        lambda: _mixed(pixels, _blurred(pixels, 12), rng.uniform(0.15, 0.4)),  # faint
        lambda: _patches(_mixed(pixels, others, share), rng),
    ]
    return rng.choice(ways)()


def _mixed(first: Pixels, second: Pixels, share: float) -> Pixels:
    return (first * share + second * (1 - share)).astype(np.uint8)


def _blurred(pixels: Pixels, radius: float) -> Pixels:
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _patches(pixels: Pixels, rng: random.Random) -> Pixels:
    size = rng.choice((4, 8))
    count = len(pixels) // size
    order = list(range(count * count))
    rng.shuffle(order)
    made = np.empty_like(pixels)
    for to, source in enumerate(order):
        (a, b), (c, d) = divmod(to, count), divmod(source, count)
        made[a * size : (a + 1) * size, b * size : (b + 1) * size] = pixels[
            c * size : (c + 1) * size, d * size : (d + 1) * size
        ]
    return made


def examples(count: int, seed: int, hands: Sequence[str] = JUDGE_HANDS) -> tuple[Pixels, torch.Tensor]:
    """Return pictures and classes; a fifth is of the class "none"."""
    rng = random.Random(seed)
    pixels: list[Pixels] = []
    classes: list[int] = []

    def shown(scene: Scene, printed: bool) -> Pixels:
        return render(scene, rng, tuple(hands), printed, is_loose=True)

    for i in range(count):
        row = i % NONE if i % 5 else rng.randrange(NONE)
        scene, printed = SCENES[row % len(SCENES)], row >= len(SCENES)
        picture = shown(scene, printed)
        if i % 5 == 0:
            twins = [shown(scene, rng.random() < 0.5), *(shown(scene, printed) for _ in range(3))]
            picture, row = spoil(picture, shown(rng.choice(SCENES), printed), twins, rng), NONE
        pixels.append(picture)
        classes.append(row)
    return np.stack(pixels), torch.tensor(classes)


def varied(values: torch.Tensor) -> torch.Tensor:
    """Return pictures with slight changes of light, colour and noise, some slightly blurred."""
    count = len(values)
    values = values * (1 + 0.08 * torch.randn(count, 1, 1, 1)) + 0.06 * torch.randn(count, 3, 1, 1)
    values = values + torch.rand(count, 1, 1, 1) * 0.08 * torch.randn_like(values)
    soft = functional.avg_pool2d(functional.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.lerp(values, soft, torch.rand(count, 1, 1, 1) * 0.6)


def train(
    judge: Judge,
    pixels: torch.Tensor,
    classes: torch.Tensor,
    steps: int,
    rate: float = 3e-3,
    batch: int = 64,
) -> None:
    """Train in place. `pixels`: values from -1 to 1."""
    torch.manual_seed(31)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    started, smooth = time.process_time(), None
    judge.train()
    for step in range(steps):
        rows = torch.randint(len(pixels), (batch,))
        loss = functional.nll_loss(judge(varied(pixels[rows])), classes[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            took = time.process_time() - started
            print(f"judge: step {step + 1}/{steps}, loss {smooth:.4f}, {took:.0f} s", flush=True)
    judge.eval()
