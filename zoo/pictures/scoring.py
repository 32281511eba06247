"""Scoring: which pictures the judge takes for what the caption asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from judge import NONE, PARTS, Judge, parts
from things import SCENES, STYLES, Scene

CLASSES = torch.tensor([parts(row) for row in range(NONE)])


@dataclass(frozen=True)
class Marks:
    """Per item: the judge's probabilities of each part being right, and whether all is right."""

    parts: torch.Tensor
    right: torch.Tensor

    def __str__(self) -> str:
        values = " ".join(f"{p} {v:.2f}" for p, v in zip(PARTS, self.parts.mean(0).tolist(), strict=True))
        return f"{self.right.float().mean():.3f} ({values}) n={len(self.right)}"


@torch.inference_mode()
def mark(judge: Judge, values: torch.Tensor, scenes: Sequence[Scene], style: str) -> Marks:
    """Return the marks of pictures, values from -1 to 1, for the scenes that they should show."""
    probabilities = torch.cat([judge(part) for part in values.split(128)]).exp()
    answers = torch.tensor([SCENES.index(scene) for scene in scenes]) + STYLES.index(style) * len(SCENES)
    same = CLASSES[answers].unsqueeze(1) == CLASSES  # [pictures, classes, parts]
    return Marks((probabilities[:, :NONE, None] * same).sum(1), probabilities.argmax(1) == answers)
