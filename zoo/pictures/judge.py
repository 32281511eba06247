"""The judge: one classifier whose classes are all scenes, in both styles, and "none"."""

from __future__ import annotations

import torch
from captions import english
from recipes import JUDGE_STEPS
from things import COLOURS, MOTIFS, NUMBERS, SCENES, STYLES, Scene
from torch import nn
from torch.nn import functional
from training import descend
from transformers import ResNetConfig, ResNetForImageClassification

SIDE = 64  # pictures are enlarged before the network
NONE = len(STYLES) * len(SCENES)
PARTS = {"motif": len(MOTIFS), "colour": len(COLOURS), "number": len(NUMBERS), "style": len(STYLES)}
"""What a class consists of, and the number of values of each part."""
WIDTHS = (24, 48, 96)
BATCH, RATE = 64, 3e-3


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
        self.places = nn.Parameter(_places(), requires_grad=False)
        self.parts = nn.Linear(WIDTHS[-1], self.places.shape[1])

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


def parts(row: int) -> tuple[int, ...]:
    """Return the motif, colour, number and style of a class, each from 0."""
    scene = SCENES[row % len(SCENES)]
    return scene.motif, scene.colour, scene.number - 1, row // len(SCENES)


def _places() -> torch.Tensor:
    """Return which outputs each class sums: [classes, outputs]."""
    places = torch.zeros(NONE + 1, sum(PARTS.values()) + 1)
    for row in range(NONE):
        start = 0
        for value, size in zip(parts(row), PARTS.values(), strict=True):
            places[row, start + value] = 1
            start += size
    places[NONE, -1] = 1
    return places


def varied(values: torch.Tensor) -> torch.Tensor:
    """Return pictures with slight changes of light, colour and noise, some slightly blurred."""
    count = len(values)
    values = values * (1 + 0.08 * torch.randn(count, 1, 1, 1)) + 0.06 * torch.randn(count, 3, 1, 1)
    values = values + torch.rand(count, 1, 1, 1) * 0.08 * torch.randn_like(values)
    soft = functional.avg_pool2d(functional.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.lerp(values, soft, torch.rand(count, 1, 1, 1) * 0.6)


def train(judge: Judge, values: torch.Tensor, classes: torch.Tensor) -> None:
    """Train in place on pictures, values from -1 to 1."""
    torch.manual_seed(31)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=JUDGE_STEPS, pct_start=0.1)

    def loss() -> torch.Tensor:
        rows = torch.randint(len(values), (BATCH,))
        return functional.nll_loss(judge(varied(values[rows])), classes[rows])

    judge.train()
    descend("judge", optimizer, rates, loss)
