"""Images of rows: read from files beside the data or from the row itself, and checked."""

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
from kingyo.tasks.rows import Row, is_decoded
from kingyo.types import MEDIA, Item, Media

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Of image files. Pillow reads others, too, some of them by starting programs."""
MOST_PIXELS = 64_000_000
MOST_BYTES = 1 << 28
"""Of an image file: 256 MiB, more than its pixels take."""
_INSTEAD = "Put an image there, or delete this row."


def with_images(item: Item, row: Row, columns: str | Sequence[str]) -> Item:
    """Return an item with the images of its row; its fields name their files as they lie in a run folder.

    A cell holds a path relative to the file of the data, the bytes of an image file, an image of the library
    ``datasets``, or a list of these.

    Args:
        item: without media.
        row: that it was made of.
        columns: of the images, in order.

    Raises:
        KingyoError: a column or an image is missing, a path leaves the folder of the data, or what is there
            is no image, is cut short, or has too many pixels.
    """
    media: list[Media] = []
    names: dict[str, str] = {}
    for column in [columns] if isinstance(columns, str) else columns:
        where, cell = f"{row.where}: {column}", _parsed(row.cell(column, "images"))
        is_several = isinstance(cell, list | tuple)
        cells = cast("Sequence[object]", cell) if is_several else [cell]
        found = [_image(each, row.folder, where) for each in cells]
        if not found:
            raise _unread(where, "nothing")
        files = [f"{MEDIA}/{each.name}" for each in found]
        names[column] = json.dumps(files) if is_several else files[0]
        media += found
    return replace(item, media=tuple(media), fields={**item.fields, **names})


def _parsed(cell: object) -> object:
    """Return a cell; a list of paths written as JSON, as CSV and exported tasks have it, becomes a list."""
    if isinstance(cell, str) and cell.startswith("["):
        try:
            found: object = json.loads(cell)
        except (ValueError, RecursionError):
            return cell
        return cast(object, found) if isinstance(found, list) else cell
    return cell


def _image(cell: object, folder: Path, where: str) -> Media:
    may_be_whole = isinstance(cell, Mapping)
    if isinstance(cell, Mapping):  # of the library datasets, whose paths may be whole ones
        image = cast("Mapping[str, object]", cell)
        cell = image.get("path") if image.get("bytes") is None else image["bytes"]
    if is_decoded(cell):
        cell = _as_png(cast("Image", cell))
    if isinstance(cell, bytes | bytearray):
        content = bytes(cell)
        return Media(sha256=sha256(content).hexdigest(), type=_type_of(content, where), content=content)
    if isinstance(cell, str) and cell:
        path = _inside(cell, folder, where, may_be_whole=may_be_whole)
        content = _content(path, cell, where)
        return Media(sha256=sha256(content).hexdigest(), type=_type_of(content, where), path=path)
    raise _unread(where, "nothing" if cell == "" else "null" if cell is None else repr(cell)[:80])


def _unread(where: str, received: str) -> KingyoError:
    return KingyoError(
        where, expected="an image: a path, bytes, or a list of these", received=received, remedy=_INSTEAD
    )


def _as_png(image: Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _inside(name: str, folder: Path, where: str, *, may_be_whole: bool) -> Path:
    """Return the path of a file below a folder, whatever links lead to it."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):  # a null byte, a loop of links
        path = root / "\N{REPLACEMENT CHARACTER}"
    if path.is_relative_to(root) and (may_be_whole or not Path(name).is_absolute()):
        return path
    raise KingyoError(
        where,
        expected="a relative path inside the folder of the data",
        received=name[:80],
        remedy=f"Put the image below {root}, and write its path as seen from there.",
    )


def _content(path: Path, name: str, where: str) -> bytes:
    told = f"{name[:80]!a}".strip("'\"")
    try:
        if not path.is_file():
            raise KingyoError(
                where,
                expected="an image file",
                received=f"a folder, {told}" if path.is_dir() else f"no file {told}",
                remedy="Correct the path, put the image there, or delete this row.",
            )
        if path.stat().st_size > MOST_BYTES:
            raise _too_large(where, f"a file of {path.stat().st_size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise KingyoError(
            where,
            expected="an image file",
            received=f"{told}: {error.strerror}",
            remedy="Correct the path, or make the file readable.",
        ) from error


def _too_large(where: str, received: str) -> KingyoError:
    return KingyoError(
        where,
        expected=f"an image of at most {MOST_PIXELS // 10**6} megapixels",
        received=received,
        remedy="Make the image smaller, or delete this row.",
    )


def _type_of(content: bytes, where: str) -> str:
    """Return the MIME type of an image file, once all of it could be decoded."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise KingyoError(
            where,
            expected="the library `pillow`, which reads images",
            received="an installation without it",
            remedy="In a clone of kingyo: pip install -e '.[vision]'",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds large is refused below
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(where, f"{image.width:,} x {image.height:,} pixels")
                image.load()
                return Image.MIME[str(image.format)]
    except Image.DecompressionBombError as error:
        raise _too_large(where, str(error)) from error
    except UnidentifiedImageError as error:
        raise KingyoError(
            where,
            expected=f"an image file: {', '.join(FORMATS)}",
            received=f"another file of {len(content):,} bytes",
            remedy=_INSTEAD,
        ) from error
    except KingyoError:
        raise
    except Exception as error:  # the library raises a zoo of its own
        raise KingyoError(
            where,
            expected="a whole image",
            received=f"one that cannot be decoded: {error}",
            remedy="Copy the image again, or delete this row.",
        ) from error
