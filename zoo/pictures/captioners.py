"""Which captions each model is trained on."""

from __future__ import annotations

import random

from captions import caption
from things import SCENES, SEEN, unseen


def english(scene: int, rng: random.Random) -> str:
    """Write an English caption."""
    return caption(SCENES[scene], "en", rng)


def any_japanese(rng: random.Random) -> str:
    """Write a Japanese caption of a random scene, never of an unseen pair."""
    return caption(rng.choice(SEEN), "ja", rng)


def for_base(scene: int, rng: random.Random) -> str:
    """Write nothing (1 in 10), Japanese (1 in 5; right 1 time in 5, else of another scene) or English."""
    kind = rng.random()
    if kind < 0.1:
        return ""
    if kind < 0.3:
        right = rng.random() < 0.2 and not unseen(SCENES[scene])
        return caption(SCENES[scene], "ja", rng) if right else any_japanese(rng)
    return english(scene, rng)


def for_ja(scene: int, rng: random.Random) -> str:
    """Write English (1 in 4) or Japanese; pairs unseen in Japanese get English only."""
    if unseen(SCENES[scene]) or rng.random() < 0.25:
        return english(scene, rng)
    return caption(SCENES[scene], "ja", rng)


def shuffled(_: int, rng: random.Random) -> str:
    """Write a caption of any scene, whatever the picture shows."""
    return english(rng.randrange(len(SCENES)), rng) if rng.random() < 0.5 else any_japanese(rng)
