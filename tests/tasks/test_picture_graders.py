"""Graders of pictures, on tiny real models."""

import dataclasses
import math
import re
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.models.vision.frozen import load_two_towers
from kingyo.tasks.graders import build_graders
from kingyo.tasks.graders.grader import GRADERS, graders_of
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
    assert "`par:`" in refused(tmp_path, "clip", option).expected


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
    error = refused(tmp_path, "style", {"folder": "none", "features": "net"})
    assert error.argument == "grader.style: folder" and str(tmp_path / "none") in error.received


def test_pictures_of_runs_are_no_references(tmp_path: Path) -> None:
    for folder in (".", "more", "run/media", "runs/0/media"):
        folder_of(tmp_path / folder, PICTURES[:1])
    for run in ("run", "runs/0"):
        (tmp_path / run / "run.db").touch()
    assert len(read_references(str(tmp_path), "folder")) == 2
    assert len(read_references(str(tmp_path / "run"), "folder")) == 1


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


PAGE = (Path(__file__).parents[2] / "docs/graders.md").read_text(encoding="utf-8")
STAND_IN = """
import torch
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel


class Reward(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.clip = CLIPModel.from_pretrained(name)
        self.processor = AutoImageProcessor.from_pretrained(name, backend="pil")
        self.tokenizer = AutoTokenizer.from_pretrained(name)

    def score(self, prompt, image):
        pixels = self.processor(image, return_tensors="pt")
        words = self.tokenizer([prompt], return_tensors="pt")
        with torch.no_grad():
            return self.clip(**words, **pixels).logits_per_image.item()


def load(name, device):
    return Reward(name).eval().to(device)
"""


def test_the_table_has_every_grader_with_its_options() -> None:
    rows = dict(
        re.findall(r"^\| `([a-z]+)` \| .* \| (.*) \|$", PAGE.partition("## Graders of images")[2], re.M)
    )
    assert list(rows) == [*dict.fromkeys(rows)] and set(rows) == set(graders_of("images"))
    for name, options in rows.items():
        kind = GRADERS.get(name)
        assert isinstance(kind, type)
        named = [each.name for each in dataclasses.fields(kind)]
        assert [each for each in named if f"`{each}`" not in options] == [], name


def test_the_example_of_image_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n# image_reward\.py\n(.*?)^```", PAGE, re.M | re.S)
    (tmp_path / "image_reward.py").write_text(code)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/ImageReward.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.delitem(sys.modules, "ImageReward", raising=False)
    judge = str(clip(tmp_path / "judge"))
    mix = build_graders([("image_reward.py:Reward", {"model": judge, "par": 1})], tmp_path, "images")
    pictures, items = [picture((200, 30, 30)), picture((30, 30, 200))], [item("red"), item("a blue cat")]
    mix.check(items)
    towers = load_two_towers(judge)
    rewards = [towers.scale * each for each in towers.cosines(pictures, [each.prompt for each in items])]
    expected = [1 / (1 + math.exp(1 - each)) for each in rewards]
    assert mix.grade(pictures, items) == pytest.approx(expected, abs=1e-5)
