"""The grader of aesthetic heads, on a tiny real CLIP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kingyo.models.vision.frozen import load_two_towers
from tests.tasks.test_picture_graders import PICTURES, graded, refused
from tests.tiny_judges import clip


def head(*widths: int) -> Mapping[str, torch.Tensor]:
    """Tensors with the names of LAION's improved aesthetic predictor; numbers of layers are missing."""
    generator, tensors = torch.Generator().manual_seed(0), dict[str, torch.Tensor]()
    for number, (before, after) in enumerate(pairwise(widths)):
        tensors[f"layers.{8 * number}.weight"] = torch.randn(after, before, generator=generator)
        tensors[f"layers.{8 * number}.bias"] = torch.randn(after, generator=generator)
    return tensors


def test_the_rating_is_what_the_layers_say(tmp_path: Path) -> None:
    vectors = load_two_towers(str(clip(tmp_path / "judge"))).image_vectors(PICTURES)
    option = {"model": "judge", "head": "head.safetensors", "low": -30, "high": 30}
    for sign in (1, -1):  # a changed file is read again
        layers = {name: sign * each for name, each in head(16, 8, 4, 1).items()}
        save_file(layers, tmp_path / "head.safetensors")
        ratings = vectors
        for number in (0, 8, 16):
            ratings = ratings @ layers[f"layers.{number}.weight"].T + layers[f"layers.{number}.bias"]
        expected = ((ratings[:, 0] + 30) / 60).clamp(0, 1).tolist()
        assert len(set(expected)) == 4
        assert graded(tmp_path, "aesthetic", option) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "tensors",
    [
        head(12, 8, 1),
        head(16, 8, 2),
        {"weight": torch.full((1, 16), math.nan), "bias": torch.zeros(1)},
        {"logit_scale": torch.zeros(1)},
        None,
    ],
)
def test_heads_that_do_not_fit(tensors: Mapping[str, torch.Tensor] | None, tmp_path: Path) -> None:
    clip(tmp_path / "judge")
    file = tmp_path / "head.safetensors"
    torch.save({}, file) if tensors is None else save_file(dict(tensors), file)
    assert refused(tmp_path, "aesthetic", {"model": "judge", "head": file.name}).argument == str(file)
