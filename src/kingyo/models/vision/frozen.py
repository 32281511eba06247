"""Frozen networks that read images: classifiers, and CLIP or SigLIP with heads on their features.

They are loaded from safetensors, without code of theirs, in float32 on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from kingyo.core.io.extras import quiet
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.model_names import split_revision
from kingyo.core.types import Media
from kingyo.errors import KingyoError, listed
from kingyo.models.vision.cache import Cache
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


_NAME = re.compile(r"(?:(.*\D)?(\d+)\.)?(weight|bias)")


class TwoTowers:
    """A model with an image encoder and a text encoder that share a space; its weights never change."""

    def __init__(self, model: Any, processor: ImageProcessor, tokenizer: Any) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = tokenizer
        self._texts = Cache[Tensor](1 << 27)
        self.scale = float(model.logit_scale.detach().exp())
        bias = getattr(model, "logit_bias", None)
        self.bias = None if bias is None else float(bias.detach())

    @property
    def width(self) -> int:
        return self._encode_text("").shape[0]

    def cosines(self, pictures: Sequence[Media], texts: Sequence[str]) -> list[float]:
        """Return the cosine of each picture with its text."""
        cosines = (self.image_vectors(pictures) * self._text_vectors(texts)).sum(dim=-1)
        return cast("list[float]", cosines.tolist())  # pyright: ignore[reportUnknownMemberType]

    def image_vectors(self, pictures: Sequence[Media]) -> Tensor:
        """Return the vector of each picture, of length 1: [pictures, width]."""
        batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        return torch.cat([self._encode_images(batch) for batch in batches])

    def _encode_images(self, pictures: Sequence[Media]) -> Tensor:
        pixels = torch.stack([self._processor(each) for each in pictures])
        with torch.inference_mode():
            return _unit(_pooled(self._model.get_image_features(pixel_values=pixels)))

    def _text_vectors(self, texts: Sequence[str]) -> Tensor:
        vectors = [self._texts.get(text) for text in texts]
        return torch.stack(
            [
                self._texts.put(text, self._encode_text(text)) if vector is None else vector
                for text, vector in zip(texts, vectors, strict=True)
            ]
        )

    def _encode_text(self, text: str) -> Tensor:
        """Return the vector of a text; it is cut at the encoder's length, as in CLIPScore and PickScore."""
        inputs = self._tokenizer(
            [text],
            # SigLIP, the only family with a bias, was trained on padded texts
            padding="max_length" if self.bias is not None else False,
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        known = {key: inputs[key] for key in ("input_ids", "attention_mask") if key in inputs}
        with torch.inference_mode():
            return _unit(_pooled(self._model.get_text_features(**known)))[0]


def _pooled(output: Any) -> Tensor:
    """Return the vectors in an output of transformers, before and since version 5."""
    return cast("Tensor", getattr(output, "pooler_output", output))


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def load_two_towers(name: str, processor: str | None = None) -> TwoTowers:
    """Load a model that compares pictures with texts; equal names give one object until its files change.

    Args:
        name: a folder, or a name on the Hub.
        processor: the folder or Hub name of its image processor and tokenizer; by default ``name``.
    """
    return _loaded(name, processor, stamps(name, processor))


@lru_cache(maxsize=4)
def _loaded(name: str, processor: str | None, _stamps: object) -> TwoTowers:
    from transformers import AutoModel

    loaded = load_net(AutoModel, name, "a model of images and texts, such as CLIP or SigLIP,")
    _require_towers(loaded, name)
    source = processor or name
    towers = TwoTowers(loaded.model, load_processor(source), load_tokenizer(source))
    require_usable(name, lambda pictures: towers.cosines(pictures, [""] * len(pictures)))
    return towers


def _require_towers(loaded: LoadedNet, name: str) -> None:
    parts = ("get_image_features", "get_text_features", "logit_scale")
    has_parts = all(hasattr(loaded.model, part) for part in parts)
    if has_parts and not loaded.missing:
        return
    kind = type(loaded.model).__name__
    received = f"{kind} without {', '.join(loaded.missing[:3])}" if has_parts else kind
    remedy = "Name the folder of a CLIPModel, a SiglipModel or a fine-tune of one."
    raise KingyoError(name, "a complete model of images and texts, such as CLIP or SigLIP", received, remedy)


class AestheticHead:
    """A multi-layer perceptron on CLIP features of length 1, with one output."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], activation: str) -> None:
        self._layers = layers
        self._activation = activation

    def ratings(self, vectors: Tensor) -> list[float]:
        """Return the rating of each picture from the vectors of pictures: [pictures, width]."""
        values = vectors
        for number, (weight, bias) in enumerate(self._layers):
            values = torch.relu(values) if number and self._activation == "relu" else values
            values = values @ weight.T + bias
        return cast("list[float]", values[:, 0].tolist())  # pyright: ignore[reportUnknownMemberType]


def load_head(file: Path, activation: str, width: int) -> AestheticHead:
    """Load a head from a safetensors file; equal arguments give one object until the file changes.

    Its tensors are called ``layers.0.weight``, ``layers.0.bias`` and so on, or ``weight`` and ``bias``.
    Layers follow one another by number; numbers may be missing.

    Args:
        file: the safetensors file.
        activation: ``none`` or ``relu``, between the layers.
        width: number of features that the head must read.
    """
    return _head(file, activation, width, stamps(str(file)))


@lru_cache(maxsize=4)
def _head(file: Path, activation: str, width: int, _stamps: object) -> AestheticHead:
    try:
        from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

        layers = _layers(load_file(file))
    except Exception as error:  # a broken file may raise anything
        expected = "a safetensors file of linear layers that end in one number"
        remedy = "Convert a .pth file: save_file(torch.load(FILE, weights_only=True), 'head.safetensors')."
        raise KingyoError(str(file), expected, f"{type(error).__name__}: {error}"[:300], remedy) from error
    own = layers[0][0].shape[1]
    if own != width:
        remedy = "Name the CLIP model that the head was trained with, such as ViT-L/14 for LAION's."
        raise KingyoError(str(file), f"a head on {width} features, as the model has", f"one on {own}", remedy)
    return AestheticHead(layers, activation)


def _layers(tensors: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    by_number: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parts = _NAME.fullmatch(name)
        if parts is None:
            raise ValueError(f"the tensor {name}")
        by_number.setdefault(int(parts[2] or 0), {})[parts[3]] = tensor.float()
    layers = [(own["weight"], own["bias"]) for _, own in sorted(by_number.items())]
    if not all(bool(torch.isfinite(part).all()) for layer in layers for part in layer):
        raise ValueError("NaN or infinity")
    widths = [layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)]
    fits = all(weight.shape[1] == width for (weight, _), width in zip(layers, widths[:-1], strict=True))
    if not fits or widths[-1] != 1:
        raise ValueError(f"layers of widths {' -> '.join(map(str, widths))}")
    return layers
