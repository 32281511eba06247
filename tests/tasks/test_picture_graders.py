"""Graders of pictures, on tiny real models."""

from __future__ import annotations

import math
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.models.vision.frozen import load_two_towers
from kingyo.tasks.graders import build_graders
from kingyo.tasks.references import read_references
from tests.models.classifiers import vit
from tests.tiny_judges import as_media, clip, folder_of, item, picture, siglip

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 180, 40)]
PICTURES = [picture(each) for each in COLOURS]
ITEMS = [item("red", caption="a cat"), item("green"), item("blue", caption="x"), item("gold")]


def graded(folder: Path, name: str, option: object, n: int = 4) -> list[float]:
    mix = build_graders([(name, option)], folder, "images")
    mix.check(ITEMS[:n])
    return mix.grade(PICTURES[:n], ITEMS[:n])


def refused(folder: Path, name: str, option: object) -> KingyoError:
    with pytest.raises(KingyoError) as error:
        graded(folder, name, option)
    return error.value


def test_clipscore(tmp_path: Path) -> None:
    """Hessel et al. 2021, equation 1: 2.5 x max(cosine, 0)."""
    towers = load_two_towers(str(clip(tmp_path / "judge")))
    cosines = towers.cosines(PICTURES, [each.prompt for each in ITEMS])
    assert min(cosines) < 0 or max(cosines) > 0.4  # a bound is reached
    expected = [min(1, 2.5 * max(each, 0)) for each in cosines]
    assert graded(tmp_path, "clip", "judge") == pytest.approx(expected, abs=1e-6)
    scaled = [min(1, 0.5 * max(each, 0)) for each in cosines]
    assert graded(tmp_path, "clip", {"model": "judge", "scale": 0.5}) == pytest.approx(scaled, abs=1e-6)


def test_a_picture_may_be_compared_with_another_column(tmp_path: Path) -> None:
    towers = load_two_towers(str(clip(tmp_path / "judge")))
    (cosine,) = towers.cosines(PICTURES[:1], ["a photo of a cat"])
    option = {"model": "judge", "text": "a photo of {caption}", "score": "preference", "par": 0}
    (score,) = graded(tmp_path, "clip", option, n=1)
    assert score == pytest.approx(1 / (1 + math.exp(-towers.scale * cosine)), abs=1e-6)
    assert "caption" in str(refused(tmp_path, "clip", {"model": "judge", "text": "{caption}"}))


def test_the_probability_of_siglip(tmp_path: Path) -> None:
    towers = load_two_towers(str(siglip(tmp_path / "judge")))
    cosines = towers.cosines(PICTURES, [each.prompt for each in ITEMS])
    assert towers.bias == -0.5
    expected = [1 / (1 + math.exp(0.5 - towers.scale * each)) for each in cosines]
    assert graded(tmp_path, "clip", {"model": "judge", "score": "probability"}) == pytest.approx(
        expected, abs=1e-6
    )
    clip(tmp_path / "other")
    assert (
        refused(tmp_path, "clip", {"model": "other", "score": "probability"}).argument == "grader.clip: score"
    )


def test_the_preference_of_a_model_like_pickscore(tmp_path: Path) -> None:
    clip(tmp_path / "pick", 1, processor=False)
    clip(tmp_path / "base", 2)
    towers = load_two_towers(str(tmp_path / "pick"), str(tmp_path / "base"))
    cosines = towers.cosines(PICTURES, [each.prompt for each in ITEMS])
    option = {"model": "pick", "processor": "base", "score": "preference", "par": 1.5}
    expected = [1 / (1 + math.exp(1.5 - towers.scale * each)) for each in cosines]
    assert graded(tmp_path, "clip", option) == pytest.approx(expected, abs=1e-6)
    del option["par"]
    assert refused(tmp_path, "clip", option).argument == "grader.clip: par"


def head(file: Path, *widths: int) -> dict[str, torch.Tensor]:
    """Write a head with the names of LAION's improved aesthetic predictor, and return its tensors."""
    generator, tensors = torch.Generator().manual_seed(0), dict[str, torch.Tensor]()
    for number, (before, after) in enumerate(pairwise(widths)):
        name = f"layers.{2 * number}"
        tensors[f"{name}.weight"] = torch.randn(after, before, generator=generator)
        tensors[f"{name}.bias"] = torch.randn(after, generator=generator)
    save_file(tensors, file)
    return tensors


def test_the_rating_of_an_aesthetic_head(tmp_path: Path) -> None:
    tensors = head(tmp_path / "head.safetensors", 16, 8, 1)
    vectors = load_two_towers(str(clip(tmp_path / "judge"))).image_vectors(PICTURES)
    middle = vectors @ tensors["layers.0.weight"].T + tensors["layers.0.bias"]
    ratings = (middle @ tensors["layers.2.weight"].T + tensors["layers.2.bias"])[:, 0]
    option = {"model": "judge", "head": "head.safetensors", "low": -30, "high": 30}
    assert graded(tmp_path, "aesthetic", option) == pytest.approx(
        ((ratings + 30) / 60).clamp(0, 1).tolist(), abs=1e-6
    )


def test_a_changed_head_is_read_again(tmp_path: Path) -> None:
    clip(tmp_path / "judge")
    option = {"model": "judge", "head": "head.safetensors", "low": -30, "high": 30}
    file = tmp_path / "head.safetensors"
    tensors = head(file, 16, 8, 1)
    before = graded(tmp_path, "aesthetic", option)
    save_file({name: -each for name, each in tensors.items()}, file)
    os.utime(file, ns=(0, 0))  # clocks of some file systems are slow
    assert graded(tmp_path, "aesthetic", option) != before


def test_heads_that_do_not_fit(tmp_path: Path) -> None:
    clip(tmp_path / "judge")
    for number, widths in enumerate([(12, 8, 1), (16, 8, 2)]):
        file = tmp_path / f"{number}.safetensors"
        head(file, *widths)
        error = refused(tmp_path, "aesthetic", {"model": "judge", "head": file.name})
        assert error.argument == str(file)
    torch.save({}, tmp_path / "head.pth")
    error = refused(tmp_path, "aesthetic", {"model": "judge", "head": "head.pth"})
    assert error.argument.endswith("head.pth") and "safetensors" in error.remedy


def test_style_is_the_cosine_with_the_nearest_references(tmp_path: Path) -> None:
    clip(tmp_path / "net")
    folder_of(tmp_path / "prints", PICTURES[:2] * 2)  # two copies of each
    option = {"folder": "prints", "features": "net", "k": 2, "low": -1}
    scores = graded(tmp_path, "style", option)
    vectors = load_two_towers(str(tmp_path / "net")).image_vectors(PICTURES)
    cosines = (vectors @ vectors[:2].T).max(dim=1).values
    assert scores == pytest.approx(((cosines + 1) / 2).tolist(), abs=1e-5)
    assert scores[:2] == [1, 1]
    assert graded(tmp_path, "style", {**option, "k": 50})[0] < 1  # the mean of all four


def test_folders_without_usable_images(tmp_path: Path) -> None:
    (tmp_path / "empty/.hidden").mkdir(parents=True)
    folder_of(tmp_path / "empty/.hidden", PICTURES[:1])
    (tmp_path / "empty/notes.txt").write_text("no image")
    clip(tmp_path / "net")
    error = refused(tmp_path, "style", {"folder": "empty", "features": "net"})
    assert error.argument == "grader.style: folder" and "0 images" in error.received
    folder_of(tmp_path / "broken", PICTURES)
    (tmp_path / "broken/b.png").write_bytes(PICTURES[0].read()[:60])
    error = refused(tmp_path, "style", {"folder": "broken", "features": "net"})
    assert error.argument == str(tmp_path / "broken/b.png")
    deep = folder_of(tmp_path / "deep", PICTURES) / "b.png"
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(deep)
    error = refused(tmp_path, "style", {"folder": "deep", "features": "net"})
    assert error.argument == str(deep) and "mode I;16" in error.received
    error = refused(tmp_path, "style", {"folder": "none", "features": "net"})
    assert error.argument == "grader.style: folder" and str(tmp_path / "none") in error.received


def test_pictures_of_runs_are_no_references(tmp_path: Path) -> None:
    for folder in (".", "more", "run/media", "runs/0/media"):
        folder_of(tmp_path / folder, PICTURES[:1])
    for run in ("run", "runs/0"):
        (tmp_path / run / "run.db").touch()
    assert len(read_references(str(tmp_path), "folder")) == 2
    assert len(read_references(str(tmp_path / "run"), "folder")) == 1


def test_unknown_graders_and_options(tmp_path: Path) -> None:
    assert "'classifier'" in refused(tmp_path, "clasifier", "judge").remedy
    clip(tmp_path / "judge")
    assert "'scale'" in refused(tmp_path, "clip", {"model": "judge", "scal": 2}).remedy


def test_a_revision_of_a_local_judge_is_refused(tmp_path: Path) -> None:
    """It looks like a name on the Hub."""
    clip(tmp_path / "models/judge")
    assert "'models/judge@v1', and no " in refused(tmp_path, "clip", "models/judge@v1").received


def test_a_classifier_without_its_head_is_refused(tmp_path: Path) -> None:
    from transformers import ViTModel

    vit(tmp_path / "judge")
    ViTModel.from_pretrained(tmp_path / "judge").save_pretrained(tmp_path / "headless")
    (tmp_path / "headless/preprocessor_config.json").write_bytes(
        (tmp_path / "judge/preprocessor_config.json").read_bytes()
    )
    items = [item(label="0")]
    mix = build_graders([("classifier", "headless")], tmp_path, "images")
    with pytest.raises(KingyoError) as error:
        mix.check(items)
    assert error.value.argument == str(tmp_path / "headless") and "classifier" in error.value.received


@pytest.mark.parametrize(("name", "weight"), [("classifier", "classifier.bias"), ("clip", "logit_scale")])
def test_judges_with_nan_are_refused_before_a_run(name: str, weight: str, tmp_path: Path) -> None:
    vit(tmp_path / "judge") if name == "classifier" else clip(tmp_path / "judge")
    file = tmp_path / "judge/model.safetensors"
    weights = {key: value * (math.nan if key != weight else 1) for key, value in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})
    items = [item(label="0")]
    with pytest.raises(KingyoError) as error:
        build_graders([(name, "judge")], tmp_path, "images").check(items)
    assert error.value.argument == str(tmp_path / "judge") and "NaN" in error.value.received


def test_an_aesthetic_head_with_nan_is_refused(tmp_path: Path) -> None:
    clip(tmp_path / "judge")
    file = tmp_path / "head.safetensors"
    save_file({"weight": torch.full((1, 16), math.nan), "bias": torch.zeros(1)}, file)
    error = refused(tmp_path, "aesthetic", {"model": "judge", "head": file.name})
    assert error.argument == str(file) and "NaN" in error.received


def test_a_cosine_that_is_nan_is_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towers = load_two_towers(str(clip(tmp_path / "judge")))
    monkeypatch.setattr(towers, "cosines", lambda pictures, texts: [math.nan] * len(pictures))
    error = refused(tmp_path, "clip", "judge")
    assert error.argument == "grader clip" and "nan" in error.received


def test_two_classifiers_read_each_picture_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    pictures = [as_media(generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(300)]
    items = [item(str(number), label="red", other="1") for number in range(300)]
    vit(tmp_path / "one"), vit(tmp_path / "two", 1)
    mix = build_graders(
        [("classifier", "one"), ("classifier", {"model": "two", "label": "other"})], tmp_path, "images"
    )
    mix.check(items)
    read: list[Any] = []
    from kingyo.models.vision import images as module

    plain = module.read_image
    monkeypatch.setattr(module, "read_image", lambda media: read.append(media) or plain(media))
    start = time.process_time()
    mix.grade(pictures, items)
    assert len(read) == len(pictures)
    assert time.process_time() - start < 3  # 0.3 s on an idle core
