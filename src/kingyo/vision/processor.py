"""Convert images into pixels as a checkpoint's preprocessor_config.json defines."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.io.extras import library
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.types import Media
from kingyo.vision.images import read_image, require_small_sides

if TYPE_CHECKING:
    from PIL.Image import Image

REMEDY = "Copy the preprocessor_config.json of its base model into the folder."


class ImageProcessor:
    """Converts images into pixels of one shape."""

    def __init__(self, inner: Any, read: Callable[[Media], Image] = read_image) -> None:
        self._inner = inner
        self._read = read
        self._shape: tuple[int, ...] | None = None

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        remote_code: bool,
        revision: str | None = None,
        read: Callable[[Media], Image] = read_image,
    ) -> Self:
        """Load the image processor of a folder or a model on the Hub.

        It uses Pillow, and so is the same on every machine. ``read`` decodes an image.
        """
        library(str(path), "PIL")
        from transformers import AutoImageProcessor
        from transformers.image_processing_base import ImageProcessingMixin

        try:
            processor = cast(
                "Any",
                AutoImageProcessor.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                    path,
                    revision=revision or "main",
                    local_files_only=path.is_dir(),
                    trust_remote_code=remote_code,
                    backend="pil",
                ),
            )
            if not isinstance(processor, ImageProcessingMixin):
                raise TypeError(f"{type(processor).__name__} is not an image processor")
            require_small_sides(processor.to_dict())
        except Exception as error:  # a broken file may raise anything
            first = str(error).strip().split("\n", 1)[0]
            raise KingyoError(
                str(path),
                expected="an image processor (preprocessor_config.json) that transformers can load",
                received=f"{type(error).__name__}: {first}"[:300],
                remedy=REMEDY,
            ) from error
        return cls(processor, read)

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
                f"image {image.place}",
                expected=f"pixels of shape {list(self._shape or ())}, like the other images",
                received=f"shape {list(shape)}",
                remedy="Resize this image, or configure resizing in the model's preprocessor_config.json.",
            )
        self._shape = shape
        return pixels

    def _pixels(self, image: Media) -> Tensor:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # real problems raise errors
                processed = self._inner(images=self._read(image), return_tensors="pt")
            pixels = cast("Tensor", processed["pixel_values"])[0]
            if not bool(torch.isfinite(pixels).all()):
                raise ValueError("pixels that are NaN or infinite")
        except ChangedSourceError:
            raise
        except Exception as error:  # both libraries raise many types
            raise KingyoError(
                f"image {image.place}",
                expected="an image that the model's image processor can use",
                received=f"{type(error).__name__}: {error}"[:300],
                remedy="Replace the image, delete its row, or correct the model's preprocessor_config.json.",
            ) from error
        return pixels
