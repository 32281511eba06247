"""Frozen networks that read images: classifiers, and CLIP or SigLIP.

They are loaded from safetensors, without code of theirs, in float32 on the CPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from kingyo.core.io.extras import quiet
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.model_names import split_revision
from kingyo.core.types import Media
from kingyo.errors import KingyoError, listed
from kingyo.models.vision.cache import Cache
from kingyo.models.vision.images import ImageProcessor, decode_image, encode_png

P = ParamSpec("P")
T = TypeVar("T")
BATCH = 64


def kept_until_files_change(load: Callable[P, T]) -> Callable[P, T]:
    """Return a function that loads once for equal arguments, until a file or folder among them changes."""

    signature = inspect.signature(load)

    @lru_cache(maxsize=8)
    def kept(_: object, *arguments: Any) -> T:
        return cast("Callable[..., T]", load)(*arguments)

    @wraps(load)
    def loaded(*arguments: P.args, **named: P.kwargs) -> T:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        return kept(_stamps(bound.args), *bound.args)

    return loaded


def _stamps(names: Iterable[object]) -> tuple[object, ...]:
    places = [Path(name) for name in names if isinstance(name, str | Path)]
    inside = (file for place in places if place.is_dir() for file in place.iterdir())
    files = sorted(file for file in (*places, *inside) if file.is_file())
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def load_net(auto_class: Any, text: str, kind: str) -> tuple[Any, Sequence[str]]:
    """Load a network from a folder or the Hub; return also the names of its missing, random weights.

    ``kind`` says what it should be, for the error: "an image classifier".
    """
    options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    model, info = _from_pretrained(auto_class, text, f"{kind} that transformers can load", **options)
    return model.eval(), sorted(info["missing_keys"])


def _from_pretrained(auto_class: Any, text: str, expected: str, **options: object) -> Any:
    name, revision = split_revision(text)
    try:
        with quiet("transformers"):
            return auto_class.from_pretrained(
                name, revision=revision or "main", trust_remote_code=False, **options
            )
    except Exception as error:  # a broken folder may raise anything
        raise _unreadable(text, expected, error) from error


def load_processor(text: str) -> ImageProcessor:
    """Load the image processor of a network; images that several networks look at are decoded once."""
    name, revision = split_revision(text)
    return ImageProcessor.load(Path(name), remote_code=False, revision=revision, read=decode_image)


def require_usable(text: str, encode: Callable[[Sequence[Media]], Any]) -> None:
    """Check on a black image that a network reads images, before a run depends on it."""
    from PIL import Image

    image = encode_png(Image.new("RGB", (32, 32)))
    try:
        if not np.isfinite(np.asarray(encode([image]), dtype=np.float64)).all():
            raise ValueError("NaN or infinity for a black image")
    except Exception as error:  # a model of any kind may raise anything
        raise _unreadable(text, "a model that reads images of any size", error) from error


def _unreadable(text: str, expected: str, error: Exception) -> KingyoError:
    received = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    remedy = "Name the complete folder of a model, with safetensors and preprocessor_config.json."
    return KingyoError(text, expected, received, remedy)


class FrozenClassifier:
    """An image classifier that judges images; its weights never change."""

    def __init__(self, model: Any, processor: ImageProcessor) -> None:
        self._model = model
        self._processor = processor
        labels = cast("dict[int, object]", model.config.id2label)
        self.classes = tuple(str(labels[number]) for number in sorted(labels))

    def class_probabilities(self, images: Sequence[Media]) -> list[list[float]]:
        """Return the probability of each class for each image: [images, classes]."""
        probabilities: list[list[float]] = []
        for start in range(0, len(images), BATCH):
            pixels = torch.stack([self._processor(each) for each in images[start : start + BATCH]])
            with torch.inference_mode():
                logits = self._model(pixel_values=pixels.to(self._model.dtype)).logits
            softmax = torch.softmax(logits.float(), dim=-1)
            probabilities += cast("list[list[float]]", softmax.tolist())  # pyright: ignore[reportUnknownMemberType]
        return probabilities


@kept_until_files_change
def load_classifier(name: str) -> FrozenClassifier:
    """Load a classifier from a folder or by its name on the Hub."""
    from transformers import AutoModelForImageClassification

    model, missing = load_net(AutoModelForImageClassification, name, "an image classifier")
    if missing:
        expected = "an image classifier with all its weights"
        remedy = "Name a model that was trained as a classifier."
        raise KingyoError(name, expected, f"one without {listed(missing, 3)}", remedy)
    classifier = FrozenClassifier(model, load_processor(name))
    require_usable(name, classifier.class_probabilities)
    return classifier


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
        return len(self._text_vector(""))

    def cosines(self, images: Sequence[Media], texts: Sequence[str]) -> list[float]:
        vectors = torch.stack([self._text_vector(text) for text in texts])
        cosines = (self.image_vectors(images) * vectors).sum(dim=-1)
        return cast("list[float]", cosines.tolist())  # pyright: ignore[reportUnknownMemberType]

    def image_vectors(self, images: Sequence[Media]) -> Tensor:
        """Return the vector of each image, of length 1: [images, width]."""
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return torch.cat([self._encode_images(batch) for batch in batches])

    def _encode_images(self, images: Sequence[Media]) -> Tensor:
        pixels = torch.stack([self._processor(each) for each in images])
        with torch.inference_mode():
            return _unit(_pooled(self._model.get_image_features(pixel_values=pixels)))

    def _text_vector(self, text: str) -> Tensor:
        vector = self._texts.get(text)
        return self._texts.put(text, self._encode_text(text)) if vector is None else vector

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


@kept_until_files_change
def load_two_towers(name: str, processor: str | None = None) -> TwoTowers:
    """Load a model that compares images with texts; ``processor`` names that of its inputs."""
    from transformers import AutoModel, AutoTokenizer

    expected = "a complete model of images and texts, such as CLIP or SigLIP"
    model, missing = load_net(AutoModel, name, expected)
    parts = ("get_image_features", "get_text_features", "logit_scale")
    if missing or not all(hasattr(model, part) for part in parts):
        received = f"{type(model).__name__}{' without ' if missing else ''}{listed(missing, 3)}"
        remedy = "Name the folder of a CLIPModel, a SiglipModel or a fine-tune of one."
        raise KingyoError(name, expected, received, remedy)
    source = processor or name
    tokenizer = _from_pretrained(AutoTokenizer, source, "a model with a tokenizer")
    towers = TwoTowers(model, load_processor(source), tokenizer)
    require_usable(name, lambda images: towers.cosines(images, [""] * len(images)))
    return towers
