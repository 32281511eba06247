"""Read images, encode them as PNG, and convert them into pixels for models as their processors define."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from kingyo.core.io.extras import library
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.types import Media
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.models.vision.cache import Cache

if TYPE_CHECKING:
    from PIL.Image import Image

PROCESSOR_REMEDY = "Copy the preprocessor_config.json of its base model into the folder."
_DECODED: Cache[Image] = Cache(1 << 28, lambda image: 3 * image.width * image.height)


def read_image(media: Media) -> Image:
    """Return an image in RGB, rotated by its EXIF data; of an animation the first frame.

    Raises:
        ChangedSourceError: the file has changed.
        OSError, ValueError: it cannot be decoded, or has more than 8 bits per channel.
    """
    from PIL import Image, ImageOps

    content = media.read()
    with warnings.catch_warnings(), Image.open(BytesIO(content)) as image:
        warnings.simplefilter("ignore")  # real problems raise errors
        if image.mode.startswith(("I", "F")):  # Pillow would clip it to white or black
            raise ValueError(f"more than 8 bits per channel (mode {image.mode})")
        return ImageOps.exif_transpose(image).convert("RGB")


def decode_image(media: Media) -> Image:
    """Return an image like ``read_image``; it is shared: do not change it."""
    if media.path is not None:
        return read_image(media)  # its bytes may have changed
    return _DECODED.get(media.sha256) or _DECODED.put(media.sha256, read_image(media))


def encode_png(image: Image, *, compress_level: int = 6) -> Media:
    stream = BytesIO()
    image.save(stream, "PNG", compress_level=compress_level)
    content = stream.getvalue()
    return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)


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
        """Load the image processor of a folder or a model on the Hub; with Pillow, the same everywhere."""
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
        except Exception as error:  # a broken file may raise anything
            first = str(error).strip().split("\n", 1)[0]
            expected = "an image processor (preprocessor_config.json) that transformers can load"
            received = f"{type(error).__name__}: {first}"[:300]
            raise KingyoError(str(path), expected, received, PROCESSOR_REMEDY) from error
        return cls(processor, read)

    def __call__(self, image: Media) -> Tensor:
        pixels = self._pixels(image)
        shape = tuple(pixels.shape)
        if self._shape not in (None, shape):
            expected = f"pixels of shape {list(self._shape or ())}, like the other images"
            remedy = "Resize this image, or configure resizing in the model's preprocessor_config.json."
            raise KingyoError(f"image {image.place}", expected, f"shape {list(shape)}", remedy)
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
            expected = "an image that the model's image processor can use"
            received = f"{type(error).__name__}: {error}"[:300]
            remedy = "Replace the image, delete its row, or correct the model's preprocessor_config.json."
            raise KingyoError(f"image {image.place}", expected, received, remedy) from error
        return pixels
