"""Tiny random image classifiers of transformers, as judges of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch


def judge(folder: Path, classes: Sequence[str], side: int = 32) -> Path:
    """Write a random ResNet with these classes, which reads pictures of ``side`` pixels."""
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(classes)),
        label2id={name: n for n, name in enumerate(classes)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return folder
