"""Load frozen networks that read images, such as classifiers.

They are loaded from safetensors, without code of theirs, in float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from kingyo.core.io.extras import quiet
from kingyo.core.io.lazy_torch import torch
from kingyo.core.io.model_names import split_revision
from kingyo.core.types import Media
from kingyo.errors import KingyoError, listed
from kingyo.models.vision.images import ImageProcessor, decode_picture, encode_png

BATCH = 64


def stamps(*names: str | None) -> tuple[object, ...]:
    """Return times and sizes of files, or of those in local folders, so that a cache notices a change."""
    places = [Path(name) for name in names if name is not None]
    inside = (file for place in places if place.is_dir() for file in place.iterdir())
    files = sorted(file for file in (*places, *inside) if file.is_file())
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


@dataclass(frozen=True, kw_only=True)
class LoadedNet:
    """A network of transformers.

    Attributes:
        model: the network, in evaluation mode.
        missing: names of weights that the checkpoint lacks; they are random.
    """

    model: Any
    missing: Sequence[str] = ()


def load_net(auto_class: Any, text: str, kind: str) -> LoadedNet:
    """Load a network of transformers.

    Args:
        auto_class: class with ``from_pretrained``.
        text: a folder, or a name on the Hub.
        kind: what the network is, for the error: "an image classifier".
    """
    name, revision = split_revision(text)
    try:
        with quiet("transformers"):
            model, info = auto_class.from_pretrained(
                name,
                revision=revision or "main",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # a broken folder may raise anything
        raise _unreadable(text, f"{kind} that transformers can load", error) from error
    return LoadedNet(model=model.eval(), missing=sorted(info["missing_keys"]))


def load_processor(text: str) -> ImageProcessor:
    """Load the image processor of a network; pictures that several networks look at are decoded once."""
    name, revision = split_revision(text)
    return ImageProcessor.load(Path(name), remote_code=False, revision=revision, read=decode_picture)


def load_tokenizer(text: str) -> Any:
    """Load the tokenizer of a network that also reads texts."""
    from transformers import AutoTokenizer

    name, revision = split_revision(text)
    automatic: Any = AutoTokenizer
    try:
        with quiet("transformers"):
            return automatic.from_pretrained(name, revision=revision or "main", trust_remote_code=False)
    except Exception as error:  # a broken folder may raise anything
        raise _unreadable(text, "a model with a tokenizer", error) from error


def require_usable(text: str, encode: Callable[[Sequence[Media]], Any]) -> None:
    """Check on a black picture that a network reads pictures, before a run depends on it.

    Args:
        text: a folder, or a name on the Hub, for the error.
        encode: returns the network's numbers for pictures, an array or nested lists.
    """
    from PIL import Image

    picture = encode_png(Image.new("RGB", (32, 32)))
    try:
        if not np.isfinite(np.asarray(encode([picture]), dtype=np.float64)).all():
            raise ValueError("NaN or infinity for a black picture")
    except Exception as error:  # a model of any kind may raise anything
        raise _unreadable(text, "a model that reads pictures of any size", error) from error


def _unreadable(text: str, expected: str, error: Exception) -> KingyoError:
    received = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    remedy = "Name the complete folder of a model, with safetensors and preprocessor_config.json."
    return KingyoError(text, expected, received, remedy)


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
    """
    return _classifier(name, stamps(name))


@lru_cache(maxsize=8)
def _classifier(name: str, _stamps: object) -> FrozenClassifier:
    from transformers import AutoModelForImageClassification

    loaded = load_net(AutoModelForImageClassification, name, "an image classifier")
    if loaded.missing:
        expected = "an image classifier with all its weights"
        remedy = "Name a model that was trained as a classifier."
        raise KingyoError(name, expected, f"one without {listed(loaded.missing, 3)}", remedy)
    classifier = FrozenClassifier(loaded.model, load_processor(name))
    require_usable(name, classifier.class_probabilities)
    return classifier
