"""Read and check the images of rows, from files next to the data or from the row itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.errors import KingyoError
from kingyo.io.extras import library
from kingyo.tasks.rows import Row, is_decoded, parse_list
from kingyo.types import MEDIA, Item, Media

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Accepted image formats. Pillow reads more, some by running external programs."""
MAX_PIXELS = 64_000_000
_REMEDY = "Provide an image, or delete this row."


def with_images(item: Item, row: Row, columns: str | Sequence[str]) -> Item:
    """Return the item with the images of its row; its fields hold the images' paths in the run folder.

    A cell holds a path relative to the data file, the bytes of an image file, an image of the library
    ``datasets``, or a list of these.
    """
    media: list[Media] = []
    names: dict[str, str] = {}
    for column in [columns] if isinstance(columns, str) else columns:
        where, cell = f"{row.where}: {column}", parse_list(row.cell(column, "images"))
        is_several = isinstance(cell, list | tuple)
        cells = cast("Sequence[object]", cell) if is_several else [cell]
        images = [_image(each, row.folder, where) for each in cells]
        if not images:
            raise _unread(where, "nothing")
        files = [f"{MEDIA}/{each.name}" for each in images]
        names[column] = json.dumps(files) if is_several else files[0]
        media += images
    return replace(item, media=tuple(media), fields={**item.fields, **names})


def image_file(path: Path) -> Media:
    """Return the image in a file."""
    return _in_file(path, str(path), str(path))


def _image(cell: object, folder: Path, where: str) -> Media:
    may_be_absolute = isinstance(cell, Mapping)  # from the library datasets
    if isinstance(cell, Mapping):
        image = cast("Mapping[str, object]", cell)
        cell = image.get("path") if image.get("bytes") is None else image["bytes"]
    if is_decoded(cell):
        stream = BytesIO()
        cast("Image", cell).save(stream, "PNG")
        cell = stream.getvalue()
    if isinstance(cell, bytes | bytearray):
        content = bytes(cell)
        return Media(sha256=sha256(content).hexdigest(), type=_type_of(content, where), content=content)
    if isinstance(cell, str) and cell:
        path = _inside(cell, folder, where, may_be_absolute=may_be_absolute)
        return _in_file(path, cell, where, None if may_be_absolute else folder.resolve())
    raise _unread(where, "nothing" if cell == "" else "null" if cell is None else repr(cell)[:80])


def _in_file(path: Path, name: str, where: str, root: Path | None = None) -> Media:
    content = _content(path, name, where, root)
    return Media(sha256=sha256(content).hexdigest(), type=_type_of(content, where), path=path)


def _unread(where: str, received: str) -> KingyoError:
    return KingyoError(where, "an image: a path, bytes, or a list of these", received, _REMEDY)


def _inside(name: str, folder: Path, where: str, *, may_be_absolute: bool) -> Path:
    """Return the resolved path of a file; it must be inside the folder after following links."""
    root = folder.resolve()
    try:
        path = (root / name.replace("\0", "")).resolve()
    except ValueError as error:  # half a character
        raise _unread(where, repr(name)[:80]) from error
    if path.is_relative_to(root) and (may_be_absolute or not Path(name).is_absolute()):
        return path
    remedy = f"Put the image below {root}, and give its path relative to that folder."
    raise KingyoError(where, "a relative path inside the folder of the data", name[:80], remedy)


def _content(path: Path, name: str, where: str, root: Path | None = None) -> bytes:
    try:
        if path.is_file():
            return path.read_bytes()
        reason = "a folder" if path.is_dir() else "no file"
    except OSError as error:
        reason = str(error.strerror)
    relative = "" if root is None else f", which is relative to {root}"
    remedy = f"Correct the path{relative}, or provide a readable image."
    raise KingyoError(where, "an image file", f"{reason}: {name[:80]}", remedy)


def _type_of(content: bytes, where: str) -> str:
    """Return the MIME type of an image file, after decoding all of it."""
    library(where, "PIL")
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width:,} x {image.height:,} pixels")
                image.load()
                return Image.MIME[str(image.format)]
    except Exception as error:  # Pillow raises many types
        reason = "of another format" if isinstance(error, UnidentifiedImageError) else error
        expected = f"an image file ({', '.join(FORMATS)}) of at most {MAX_PIXELS // 10**6} megapixels"
        received = f"a file of {len(content):,} bytes that cannot be decoded: {reason}"
        raise KingyoError(where, expected, received, "Replace this image, or leave it out.") from error
