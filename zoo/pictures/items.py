"""The items of both tasks: a caption, a seed and the scene that the caption names."""

from __future__ import annotations

from dataclasses import dataclass

from captions import WRITERS
from things import FIT, TEST, Scene

SPLITS = {"fit": 96, "validation": 128, "test": 480}
SEED = 8009


@dataclass(frozen=True)
class Item:
    """One picture to draw."""

    caption: str
    seed: int
    scene: Scene


def items(split: str, language: str = "ja") -> list[Item]:
    """Return the items of a split, each caption several times.

    A scene has one form of caption in fit and the other in validation. Test has other scenes, in both forms.
    """
    number = list(SPLITS).index(split)
    write, _ = WRITERS[language]
    named = [(scene, form) for form in range(2) for scene in (TEST if split == "test" else FIT)]
    if split != "test":
        named = [(scene, form) for scene, form in named if (scene.motif + scene.number + form) % 2 == number]
    rows = [named[i % len(named)] for i in range(SPLITS[split])]
    first = (SEED * 10 + number) * 1000
    return [Item(write(scene, form), first + i, scene) for i, (scene, form) in enumerate(rows)]
