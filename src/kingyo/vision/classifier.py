"""Frozen image classifiers: any AutoModelForImageClassification of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from kingyo.errors import KingyoError, listed
from kingyo.io.lazy_torch import torch
from kingyo.types import Media
from kingyo.vision.frozen import load_net, load_processor, require_usable, stamps
from kingyo.vision.processor import ImageProcessor

BATCH = 64


class FrozenClassifier:
    """An image classifier that judges pictures; its weights never change."""

    def __init__(self, model: Any, processor: ImageProcessor) -> None:
        self._model = model
        self._processor = processor
        labels = cast("dict[int, object]", model.config.id2label)
        self.classes = tuple(str(labels[number]) for number in sorted(labels))

    def class_probabilities(self, pictures: Sequence[Media]) -> list[list[float]]:
        """Return the probability of each class for each picture: [pictures, classes]."""
        probabilities: list[list[float]] = []
        for start in range(0, len(pictures), BATCH):
            pixels = torch.stack([self._processor(each) for each in pictures[start : start + BATCH]])
            with torch.inference_mode():
                logits = self._model(pixel_values=pixels.to(self._model.dtype)).logits
            softmax = torch.softmax(logits.float(), dim=-1)
            probabilities += cast("list[list[float]]", softmax.tolist())  # pyright: ignore[reportUnknownMemberType]
        return probabilities


def load_classifier(name: str) -> FrozenClassifier:
    """Load a classifier, in float32 on the CPU; equal names give one object until its files change.

    Args:
        name: a folder, or a name on the Hub.

    Raises:
        KingyoError: it is not a classifier that transformers can load from safetensors.
    """
    return _loaded(name, stamps(name))


@lru_cache(maxsize=8)
def _loaded(name: str, _stamps: object) -> FrozenClassifier:
    from transformers import AutoModelForImageClassification

    loaded = load_net(AutoModelForImageClassification, name, "an image classifier")
    if loaded.missing:
        raise KingyoError(
            name,
            expected="an image classifier with all its weights",
            received=f"one without {listed(loaded.missing, 3)}",
            remedy="Name a model that was trained as a classifier.",
        )
    classifier = FrozenClassifier(loaded.model, load_processor(name))
    require_usable(name, classifier.class_probabilities)
    return classifier
