"""Preprocess images for a model, as its preprocessor_config.json defines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.types import Media

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 8192
"""Maximum side of a preprocessed image in pixels, so that a typing error does not exhaust the memory."""
_REMEDY = "Copy the preprocessor_config.json of its base model into the folder."


class ImageProcessor:
    """Converts images into pixels of one shape.

    Args:
        inner: an image processor of transformers.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._shape: tuple[int, ...] | None = None

    @classmethod
    def load(cls, path: Path, *, remote_code: bool) -> Self:
        """Load the image processor of a checkpoint, with the Pillow backend: the same on every machine.

        Raises:
            KingyoError: transformers cannot load it, or its images are larger than ``MAX_SIDE``.
        """
        from transformers import AutoImageProcessor
        from transformers.image_processing_base import ImageProcessingMixin

        try:
            processor = cast(
                "Any",
                AutoImageProcessor.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                    path, local_files_only=True, trust_remote_code=remote_code, backend="pil"
                ),
            )
            if not isinstance(processor, ImageProcessingMixin):
                raise TypeError(f"{type(processor).__name__} is not an image processor")
            largest = max(_sides(processor.to_dict()), default=0)
            if largest > MAX_SIDE:
                raise ValueError(f"images of {largest:,} pixels a side; the limit is {MAX_SIDE:,}")
        except Exception as error:  # a broken file may raise anything
            first = str(error).strip().split("\n", 1)[0]
            raise KingyoError(
                str(path),
                expected="an image processor (preprocessor_config.json) that transformers can load",
                received=f"{type(error).__name__}: {first}"[:300],
                remedy=_REMEDY,
            ) from error
        return cls(processor)

    def __call__(self, image: Media) -> Tensor:
        """Return the pixels of an image: [channels, height, width].

        Raises:
            ChangedSourceError: the image file has changed.
            KingyoError: the image cannot be processed, its pixels are not finite, or their shape differs from
                that of earlier images.
        """
        pixels = self._pixels(image)
        shape = tuple(pixels.shape)
        if self._shape not in (None, shape):
            raise KingyoError(
                _where(image),
                expected=f"pixels of shape {list(self._shape or ())}, like the other images",
                received=f"shape {list(shape)}",
                remedy="Resize this image, or configure resizing in the model's preprocessor_config.json.",
            )
        self._shape = shape
        return pixels

    def _pixels(self, image: Media) -> Tensor:
        from PIL import Image

        content = image.read()
        try:
            with warnings.catch_warnings(), Image.open(BytesIO(content)) as opened:
                warnings.simplefilter("ignore")  # real problems raise errors
                processed = self._inner(images=_rgb(opened), return_tensors="pt")
            pixels = cast("Tensor", processed["pixel_values"])[0]
            if not bool(torch.isfinite(pixels).all()):
                raise ValueError("pixels that are NaN or infinite")
        except Exception as error:  # both libraries raise many types
            raise KingyoError(
                _where(image),
                expected="an image that the model's image processor can use",
                received=f"{type(error).__name__}: {error}"[:300],
                remedy="Replace the image, delete its row, or correct the model's preprocessor_config.json.",
            ) from error
        return pixels


def require_takes(model: Any, shape: Sequence[int]) -> None:
    """Check that a model accepts pixels of a shape.

    Args:
        model: a model of transformers on torch's meta device.
        shape: channels, height, width.

    Raises:
        KingyoError: the model rejects them.
    """
    try:
        model(pixel_values=torch.empty(1, *shape, device="meta", dtype=model.dtype))
    except (RuntimeError, ValueError) as error:
        if "meta" in str(error):  # it reads values, which meta tensors do not have
            return
        raise KingyoError(
            "preprocessor_config.json",
            expected="images that fit the model",
            received=f"pixels of shape {list(shape)}: {error}"[:300],
            remedy=_REMEDY,
        ) from error


def _sides(settings: Mapping[str, object]) -> Iterator[int]:
    """Yield the sides to which an image processor resizes, pads or crops images."""
    for name in ("size", "crop_size", "pad_size"):
        setting = settings.get(name)
        sides = cast("Mapping[str, object]", setting).values() if isinstance(setting, Mapping) else (setting,)
        yield from (side for side in sides if isinstance(side, int))


def _rgb(image: Image) -> Image:
    """Return an image in RGB, rotated by its EXIF data, as pipelines of transformers do."""
    from PIL import ImageOps

    if image.mode.startswith(("I", "F")):  # Pillow would clip it to white or black
        raise ValueError(f"more than 8 bits per channel (mode {image.mode})")
    return ImageOps.exif_transpose(image).convert("RGB")


def _where(image: Media) -> str:
    return f"image {image.name if image.path is None else image.path}"
