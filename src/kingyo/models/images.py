"""Read the images of items for the processors of transformers."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from kingyo.types import Media

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(media: Media) -> Image:
    """Return an image in RGB, rotated by its EXIF data, as pipelines of transformers do.

    Only the first frame of an animation is read. Transparent pixels keep their colour.

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
