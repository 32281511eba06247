"""Decode pictures for several graders: each picture is decoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kingyo.types import Media
from kingyo.vision.cache import BoundedCache
from kingyo.vision.images import read_image

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 1 << 28
CHANNELS = 3
_DECODED: BoundedCache[Image] = BoundedCache(MAX_BYTES, lambda image: image.width * image.height * CHANNELS)


def decode_picture(media: Media) -> Image:
    """Return a picture in RGB, see ``read_image``. The image is shared: do not change it.

    Raises:
        ChangedSourceError: the file has changed since its hash was taken.
        OSError, ValueError: it cannot be decoded.
    """
    if media.path is not None:
        return read_image(media)  # its bytes may have changed
    return _DECODED.get(media.sha256) or _DECODED.put(media.sha256, read_image(media))
