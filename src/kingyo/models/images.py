"""What a model sees of an image, as the preprocessor_config.json of its folder says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from kingyo.errors import KingyoError
from kingyo.late import Tensor, torch
from kingyo.types import Media

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_SIDE = 8192
"""Pixels of an image as a model sees it: a typing error must not fill the memory."""
_MEND = "Copy the preprocessor_config.json of the model that it was trained from into the folder."


class ImageProcessor:
    """Makes pixels of images, all of one shape.

    Args:
        inner: an image processor of transformers.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._shape: tuple[int, ...] | None = None

    @classmethod
    def load(cls, path: Path, *, remote_code: bool) -> Self:
        """Read the image processor of a checkpoint's folder, the one of Pillow: the same on every machine.

        Raises:
            KingyoError: there is none that transformers can read, or it makes enormous images.
        """
        from transformers import AutoImageProcessor
        from transformers.image_processing_base import ImageProcessingMixin

        try:
            found = cast(
                "Any",
                AutoImageProcessor.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                    path, local_files_only=True, trust_remote_code=remote_code, backend="pil"
                ),
            )
            if not isinstance(found, ImageProcessingMixin):
                raise TypeError(f"{type(found).__name__} is none")
            largest = max(_sides(found.to_dict()), default=0)
            if largest > MOST_SIDE:
                raise ValueError(f"images of {largest:,} pixels a side, of at most {MOST_SIDE:,}")
        except Exception as error:  # whatever a broken file makes the library raise
            first = str(error).strip().split("\n", 1)[0]
            raise KingyoError(
                str(path),
                expected="an image processor (preprocessor_config.json) that transformers can read",
                received=f"{type(error).__name__}: {first}"[:300],
                remedy=_MEND,
            ) from error
        return cls(found)

    def __call__(self, image: Media) -> Tensor:
        """Return pixels: [channels, height, width].

        Raises:
            ChangedSourceError: the file of the image is no longer what it was.
            KingyoError: it cannot be processed, its pixels are not finite, or have another shape than those
                of images before.
        """
        pixels = self._pixels(image)
        shape = tuple(pixels.shape)
        if self._shape not in (None, shape):
            raise KingyoError(
                _where(image),
                expected=f"pixels of the shape {list(self._shape or ())}, as of other images",
                received=f"{list(shape)}",
                remedy="Let the preprocessor_config.json of the model resize images, or resize this one.",
            )
        self._shape = shape
        return pixels

    def _pixels(self, image: Media) -> Tensor:
        from PIL import Image

        content = image.read()
        try:
            with warnings.catch_warnings(), Image.open(BytesIO(content)) as opened:
                warnings.simplefilter("ignore")  # what matters is an error here
                found = self._inner(images=_rgb(opened), return_tensors="pt")
            pixels = cast("Tensor", found["pixel_values"])[0]
            if not bool(torch.isfinite(pixels).all()):
                raise ValueError("pixels that are NaN or infinite")
        except Exception as error:  # both libraries raise a zoo of their own
            raise KingyoError(
                _where(image),
                expected="an image that the model's image processor can use",
                received=f"{type(error).__name__}: {error}"[:300],
                remedy="Replace the image, delete its row, or correct the model's preprocessor_config.json.",
            ) from error
        return pixels


def require_takes(model: Any, shape: Sequence[int]) -> None:
    """Refuse pixels of a shape that a model cannot take.

    Args:
        model: of transformers, without weights, on torch's meta device.
        shape: channels, height, width.

    Raises:
        KingyoError: it cannot.
    """
    try:
        model(pixel_values=torch.empty(1, *shape, device="meta", dtype=model.dtype))
    except (RuntimeError, ValueError) as error:
        if "meta" in str(error):  # it looks at numbers, of which there are none
            return
        raise KingyoError(
            "preprocessor_config.json",
            expected="images that fit the model",
            received=f"pixels of the shape {list(shape)}: {error}"[:300],
            remedy=_MEND,
        ) from error


def _sides(settings: Mapping[str, object]) -> Iterator[int]:
    """The lengths to which an image processor resizes, pads or cuts an image."""
    for name in ("size", "crop_size", "pad_size"):
        stated = settings.get(name)
        sides = cast("Mapping[str, object]", stated).values() if isinstance(stated, Mapping) else (stated,)
        yield from (side for side in sides if isinstance(side, int))


def _rgb(image: Image) -> Image:
    """An image in RGB, turned as its EXIF data say, as pipelines of transformers do."""
    from PIL import ImageOps

    if image.mode.startswith(("I", "F")):  # Pillow would make all of it white or black
        raise ValueError(f"more than 8 bits a channel (mode {image.mode})")
    return ImageOps.exif_transpose(image).convert("RGB")


def _where(image: Media) -> str:
    return f"image {image.name if image.path is None else image.path}"
