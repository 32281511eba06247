"""Image classification: tiny models of transformers, and complete runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
)

from kingyo.core.types import Item, Media
from kingyo.errors import KingyoError
from kingyo.models.kinds import MODEL_KINDS, LoadOptions, ModelKind, Options, Question
from kingyo.testing.kinds import ModelKindContract
from tests.cli.forked import run_forked
from tests.models.classifiers import LABELS, picture, vit

KIND = MODEL_KINDS.get("image-classification")


def item(n: int) -> Item:
    return Item(id=f"i{n}", prompt="", answer="red", media=(picture((n, 2 * n, 3 * n)),))


class TestImageClassification(ModelKindContract):
    def make(self) -> ModelKind:
        return KIND

    def make_checkpoint(self, folder: Path) -> None:
        vit(folder)

    def ask(self, model: Any) -> object:
        return model.rate_classes([picture((n, 200, 9)) for n in range(3)])

    def make_items(self) -> Sequence[Item]:
        return [item(n) for n in range(3)]

    def make_options(self) -> Options:
        return {"image": "image", "label": "label"}


def test_class_scores_match_transformers(tmp_path: Path) -> None:
    path = vit(tmp_path / "m")
    live = KIND.load(path, LoadOptions(batch_size=2))
    images = [picture((n, 255 - n, n), size=8 + n) for n in range(0, 250, 50)]
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    model = AutoModelForImageClassification.from_pretrained(path).eval()
    opened = [Image.open(BytesIO(each.read())).convert("RGB") for each in images]
    with torch.inference_mode():
        logits = model(**processor(images=opened, return_tensors="pt")).logits
    torch.testing.assert_close(torch.tensor(live.rate_classes(images)), logits.log_softmax(-1))  # type: ignore[attr-defined]
    assert live.classes == LABELS  # type: ignore[attr-defined]


def test_unreadable_models_and_images_give_one_clear_error(tmp_path: Path) -> None:
    path = vit(tmp_path / "m")
    broken = Media(sha256=sha256(b"no image").hexdigest(), type="image/png", content=b"no image")
    (error,) = KIND.validate(path, [Question("rate_classes", [picture((1, 2, 3)), broken], {})])
    assert error.argument == f"image {broken.name}"
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(KingyoError, match=r"preprocessor_config.json"):
        KIND.load(path, LoadOptions())


def test_classifiers_can_be_evolved_and_exported(tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "one", "other")):
        vit(tmp_path / name, seed)
    (tmp_path / "images").mkdir()
    rows: list[dict[str, str]] = []
    for n in range(24):
        colour = [20 + n, 20 + n, 20 + n]
        colour[n % 3] = 250 - n
        (tmp_path / "images" / f"{n}.png").write_bytes(picture((colour[0], colour[1], colour[2])).read())
        rows.append({"image": f"images/{n}.png", "label": LABELS[n % 3]})
    (tmp_path / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "base": "base",
        "sources": {"one": "one", "other": "other"},
        "task": {"kind": "classify", "data": "colours.jsonl", "measure": "macro_f1"},
        "budget": {"candidates": 3},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    env = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1"}
    for words in (
        ["evolve", "run.yaml", "--run", "run"],
        ["export", "run", "out"],
        ["evaluate", "out", "out/task.yaml"],
    ):
        done = run_forked(words, tmp_path, env)
        assert done.returncode == 0, (words, done.stderr)
    shown = json.loads(run_forked(["show", "run", "--json"], tmp_path, env).stdout)
    assert shown["decided_by"] == "macro_f1"
    sets = {each["split"]: each["value"] for each in shown["winner"]["set_measures"]}
    finalists = [each["validation"] for each in shown["finalists"]]
    assert max(finalists) == pytest.approx(sets["validation"])
    AutoModelForImageClassification.from_pretrained(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card
    image = re.search(r"classify\('(media/[^']+)'\)", card)
    assert image is not None and (tmp_path / "out" / image[1]).is_file()
    refused = run_forked(["chat", "out"], tmp_path, env)
    assert refused.returncode == 1 and "a model that writes text" in " ".join(refused.stderr.split())
