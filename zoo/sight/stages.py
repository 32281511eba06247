"""The first stages of the build, each kept as a file: pictures, tower, features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import vision
from pictures import render
from scenes import Scene, seen_scenes, unseen_scenes
from transformers import SiglipVisionModel

TOWER_STEPS = 1800


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Scenes with the features of their pictures, (pictures, cells, width)."""

    scenes: list[Scene]
    features: torch.Tensor


def values(scenes: list[Scene], first_seed: int, any_paint: bool = False) -> torch.Tensor:
    return vision.pixels([render(scene, first_seed + i, any_paint) for i, scene in enumerate(scenes)])


def tower(work: Path) -> SiglipVisionModel:
    kept = work / "tower"
    if kept.exists():
        return SiglipVisionModel.from_pretrained(kept).eval()
    seen, unseen = seen_scenes(), unseen_scenes()
    pixels = values(seen, 0)
    model, heads = vision.train(
        TOWER_STEPS, seen, pixels, torch.cat([values(seen, i * 10**7, any_paint=True) for i in (1, 2)])
    )
    vision.report(model, heads, seen[:1000], pixels[:1000], "seen pairs")
    vision.report(model, heads, unseen, values(unseen, 10**6), "unseen pairs")
    model.save_pretrained(kept)
    return model


def pools(work: Path) -> tuple[Pool, Pool]:
    """Training scenes and scenes with unseen pairs, with their features from the frozen tower."""
    kept = work / "features.pt"
    seen, unseen = seen_scenes(), unseen_scenes()
    if not kept.exists():
        model = tower(work)
        torch.save(
            [vision.features(model, values(seen, 0)), vision.features(model, values(unseen, 10**6))], kept
        )
    first, second = torch.load(kept)
    return Pool(scenes=seen, features=first), Pool(scenes=unseen, features=second)
