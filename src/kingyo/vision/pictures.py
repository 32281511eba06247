"""Pictures in memory: encode them as PNG, and decode each once for several graders."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

from kingyo.types import Media
from kingyo.vision.cache import BoundedCache
from kingyo.vision.images import read_image

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 1 << 28
CHANNELS = 3
_DECODED: BoundedCache[Image] = BoundedCache(MAX_BYTES, lambda image: image.width * image.height * CHANNELS)


def encode_png(image: Image, *, compress_level: int = 6) -> Media:
    """Return an image as a PNG; ``compress_level`` is that of zlib, from 0 to 9."""
    stream = BytesIO()
    image.save(stream, "PNG", compress_level=compress_level)
    content = stream.getvalue()
    return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)


def decode_picture(media: Media) -> Image:
    """Return a picture in RGB, see ``read_image``. The image is shared: do not change it.

    Raises:
        ChangedSourceError: the file has changed since its hash was taken.
        OSError, ValueError: it cannot be decoded.
    """
    if media.path is not None:
        return read_image(media)  # its bytes may have changed
    return _DECODED.get(media.sha256) or _DECODED.put(media.sha256, read_image(media))
