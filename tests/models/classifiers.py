"""Small image classifiers and pictures."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from kingyo.core.types import Media
from tests.tasks.pictures import media

LABELS = ("red", "green", "blue")


PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 8, "width": 8},
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "rescale_factor": 1 / 255,
    "resample": 2,
}


def vit(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        id2label=dict(enumerate(LABELS)),
        label2id={label: place for place, label in enumerate(LABELS)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> Media:
    stream = BytesIO()
    image.save(stream, kind, **how)
    return media(stream.getvalue(), f"image/{kind.lower()}")


def picture(colour: tuple[int, int, int], size: int = 8) -> Media:
    return encoded(Image.new("RGB", (size, size), colour))
