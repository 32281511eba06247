"""Image classifiers of transformers: they say how likely each class of an image is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Never, Protocol, cast, runtime_checkable

from kingyo.errors import KingyoError
from kingyo.late import Tensor, torch
from kingyo.models.kinds import MODEL_KINDS, AllRead, CardPart, Config, LoadOptions, Options, Workload
from kingyo.types import MEDIA, Item, Media

NAME = "image-classification"
_ENDING = "ForImageClassification"
KEPT_BYTES = 1 << 30
"""Of pixels that are kept for the next candidates."""


@runtime_checkable
class RatesClasses(Protocol):
    """A model that classifies images."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of its classes, in the order of its output."""
        ...

    def rate_classes(self, images: Sequence[Media]) -> list[list[float]]:
        """Return the log-probability of each class, image by image."""
        ...


class LiveImageClassifier:
    """An image classifier whose weights may be overwritten while it lives.

    What its image processor makes of an image does not depend on the weights, so it is kept.

    Args:
        model: of transformers.
        processor: an image processor of transformers.
        weights: the live tensors, by their names in the checkpoint.
        batch_size: how many images it looks at at once.
    """

    def __init__(self, model: Any, processor: Any, weights: Mapping[str, Tensor], *, batch_size: int) -> None:
        self._model = model
        self._processor = processor
        self._batch_size = batch_size
        self._pixels: dict[str, Tensor] = {}
        self._n_bytes = 0
        self.weights: Mapping[str, Tensor] = MappingProxyType(dict(weights))
        self.classes = _classes(cast("Config", model.config.to_dict()))

    @property
    def dtype(self) -> str:
        """What it computes in, such as ``float32``."""
        return str(self._model.dtype).removeprefix("torch.")

    def rate_classes(self, images: Sequence[Media]) -> list[list[float]]:
        """Return the log-probability of each class, image by image.

        Raises:
            KingyoError: an image that its processor cannot use, or a probability is NaN.
        """
        rates: list[list[float]] = []
        for start in range(0, len(images), self._batch_size):
            batch = [self._pixels_of(each) for each in images[start : start + self._batch_size]]
            with torch.inference_mode():
                pixels = torch.stack(batch).to(self._model.device, self._model.dtype)
                logits = cast("Tensor", self._model(pixel_values=pixels).logits)
                rated = torch.log_softmax(logits.float(), dim=-1)
            if bool(torch.isnan(rated).any()):
                raise KingyoError(
                    "model",
                    expected="finite logits",
                    received="NaN",
                    remedy="Leave this model out, or run it in float32: its numbers overflow, or hold NaN.",
                )
            rates += cast("list[list[float]]", rated.tolist())  # pyright: ignore[reportUnknownMemberType]
        return rates

    def _pixels_of(self, image: Media) -> Tensor:
        """What the model sees of an image: [channels, height, width]."""
        known = self._pixels.get(image.sha256)
        if known is not None:
            return known
        pixels = _processed(self._processor, image)
        if self._n_bytes + pixels.nbytes <= KEPT_BYTES:
            self._n_bytes += pixels.nbytes
            self._pixels[image.sha256] = pixels
        return pixels


class ImageReader:
    """Stands where a live model would before a run: its processor reads every image, and nobody answers."""

    def __init__(self, processor: Any, classes: Sequence[str]) -> None:
        self._processor = processor
        self.classes = classes

    def rate_classes(self, images: Sequence[Media]) -> Never:
        """Read the images.

        Raises:
            KingyoError: the processor cannot use one.
            AllRead: all is well.
        """
        for each in images:
            _processed(self._processor, each)
        raise AllRead


class ImageClassification:
    """Image classifiers (any AutoModelForImageClassification)."""

    name = NAME
    provides = (RatesClasses,)
    card = CardPart(
        pipeline_tag=NAME,
        auto_class="AutoModelForImageClassification",
        scored="the likeliest class of each image",
    )

    def takes(self, config: Config) -> bool:
        """Return whether an architecture of the config is one."""
        named = config.get("architectures")
        names = cast("list[object]", named) if isinstance(named, list) else []
        return any(str(each).endswith(_ENDING) for each in names)

    def load(self, path: Path, options: LoadOptions) -> LiveImageClassifier:
        """Build a live model from a folder with config.json, safetensors and preprocessor_config.json.

        Raises:
            KingyoError: the folder is no complete checkpoint, or the device is not here.
        """
        from transformers import AutoModelForImageClassification

        from kingyo.models.loading import live_weights, load_model

        processor = _processor(path, remote_code=options.remote_code)
        model = load_model(
            path,
            dtype=options.dtype,
            device=options.device,
            remote_code=options.remote_code,
            auto=AutoModelForImageClassification,
        )
        return LiveImageClassifier(model, processor, live_weights(model, path), batch_size=options.batch_size)

    def reader(self, path: Path) -> ImageReader:
        """Return what reads images as the model would, without weights."""
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        return ImageReader(_processor(path, remote_code=False), _classes(config))

    def memory(self, path: Path, config: Config, load: Workload) -> None:
        """Return nothing: what passes through the layers depends on the architecture."""

    def usage(self, example: Item, options: Options, *, trusted: bool) -> str:  # noqa: ARG002 (of the protocol)
        """Return code that names the class of an image."""
        trust = ", trust_remote_code=True" if trusted else ""
        image = f"{MEDIA}/{example.media[0].name}" if example.media else "image.png"
        return (
            "from transformers import pipeline\n\n"
            f"classify = pipeline('image-classification', model='.'{trust})  # this folder\n"
            f"print(classify({image!r})[0])\n"
        )


def _classes(config: Config) -> tuple[str, ...]:
    """The names of the classes of a config, in the order of its output."""
    named = cast("Mapping[object, object]", config.get("id2label") or {})
    return tuple(str(named[key]) for key in sorted(named, key=lambda key: int(str(key))))


def _processor(path: Path, *, remote_code: bool) -> Any:
    """The image processor of a checkpoint's folder, the one of Pillow: it is the same on every machine."""
    from transformers import AutoImageProcessor

    try:
        return cast(
            "object",
            AutoImageProcessor.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                path, local_files_only=True, trust_remote_code=remote_code, backend="pil"
            ),
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise KingyoError(
            str(path),
            expected="an image processor (preprocessor_config.json) that transformers can read",
            received=f"{type(error).__name__}: {first}",
            remedy="Copy the preprocessor_config.json of the model that it was trained from into the folder.",
        ) from error


def _processed(processor: Any, image: Media) -> Tensor:
    """What an image processor makes of an image: [channels, height, width]."""
    from PIL import Image

    try:
        with Image.open(BytesIO(image.read())) as opened:
            found = processor(images=opened.convert("RGB"), return_tensors="pt")
        return cast("Tensor", found["pixel_values"])[0]
    except (OSError, ValueError, TypeError) as error:
        raise KingyoError(
            f"image {image.name}",
            expected="an image that the model's image processor can use",
            received=f"{type(error).__name__}: {error}",
            remedy="Replace the image, or delete its row.",
        ) from error


MODEL_KINDS.register(NAME)(ImageClassification())
