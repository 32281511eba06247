"""The page about graders of images: its table is complete, and its example grades with a real model."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from pathlib import Path

import pytest

from kingyo.models.vision.frozen import load_two_towers
from kingyo.tasks.graders import build_graders
from kingyo.tasks.graders.grader import GRADERS, graders_of
from tests.tiny_judges import clip, item, picture

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
