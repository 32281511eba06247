"""Read the images of items for the processors of transformers, and keep these from filling memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, cast

from kingyo.types import Media

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 8192
"""Largest side in pixels to which an image may be resized, so that a damaged config does not fill memory."""


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
        _require_8_bits(image)
        return ImageOps.exif_transpose(image).convert("RGB")


def require_8_bits(media: Media) -> None:
    """Check the depth of an image file, without decoding it.

    Raises:
        ChangedSourceError: the file has changed.
        ValueError: it has more than 8 bits per channel.
    """
    from PIL import Image

    content = media.read()
    with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(content)) as image:
        _require_8_bits(image)


def _require_8_bits(image: Image) -> None:
    if image.mode.startswith(("I", "F")):  # Pillow would clip it to white or black
        raise ValueError(f"more than 8 bits per channel (mode {image.mode})")


def require_small_sides(settings: Mapping[str, object]) -> None:
    """Check the sides to which an image processor resizes, pads or crops images.

    Raises:
        ValueError: one is longer than ``MAX_SIDE``.
    """
    largest = max((side for _, side in _sides(settings)), default=0)
    if largest > MAX_SIDE:
        raise ValueError(f"images of {largest:,} pixels a side; the limit is {MAX_SIDE:,}")


def require_small(image: Image, settings: Mapping[str, object]) -> None:
    """Check that an image processor that fixes the shortest side makes no enormous image of a narrow one.

    Raises:
        ValueError: it would have more than ``MAX_SIDE`` x ``MAX_SIDE`` pixels.
    """
    sides = dict(_sides(settings))
    shortest, longest = sorted(image.size)
    side = 0 if "longest_edge" in sides else sides.get("shortest_edge", 0)
    if side * side * longest > MAX_SIDE**2 * shortest:
        raise ValueError(
            f"{image.width:,} x {image.height:,} pixels, too narrow for a shortest side of {side:,}"
        )


def _sides(settings: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """Yield the sides of an image processor with their names, but no areas, which Qwen2-VL has for edges."""
    has_areas = "merge_size" in settings
    for name in ("size", "crop_size", "pad_size"):
        setting = settings.get(name)
        sides = cast("Mapping[str, object]", setting) if isinstance(setting, Mapping) else {name: setting}
        for key, side in sides.items():
            if isinstance(side, int) and not (has_areas and key.endswith("_edge")):
                yield key, side
