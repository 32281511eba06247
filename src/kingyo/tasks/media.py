"""Read and check the images of rows, or other media, from files next to the data or from the row itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.core.io.extras import library
from kingyo.core.types import MEDIA, Item, Media
from kingyo.errors import KingyoError
from kingyo.tasks.rows import Row, is_decoded, parse_list

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Accepted image formats. Pillow reads more, some by running external programs."""
MAX_PIXELS = 64_000_000


@dataclass(frozen=True, kw_only=True)
class MediaFormat:
    """What the files of a kind of media are, such as images.

    Attributes:
        noun: what one is called, such as ``image``.
        type_of: returns the MIME type of a file after decoding all of it. It also gets the place of the file,
            for errors, and raises KingyoError for other files.
    """

    noun: str
    type_of: Callable[[bytes, str], str]

    def with_media(self, item: Item, row: Row, columns: str | Sequence[str]) -> Item:
        """Return the item with the files of its row; its fields hold the files' paths in the run folder.

        A cell holds a path relative to the data file, the bytes of a file, an image of the library
        ``datasets``, or a list of these.
        """
        media: list[Media] = []
        names: dict[str, str] = {}
        for column in [columns] if isinstance(columns, str) else columns:
            where, cell = f"{row.where}: {column}", parse_list(row.cell(column, f"{self.noun}s"))
            is_several = isinstance(cell, list | tuple)
            cells = cast("Sequence[object]", cell) if is_several else [cell]
            own = [self._in_cell(each, row.folder, where) for each in cells]
            if not own:
                raise self._unread_error(where, "nothing")
            files = [f"{MEDIA}/{each.name}" for each in own]
            names[column] = json.dumps(files) if is_several else files[0]
            media += own
        return replace(item, media=tuple(media), fields={**item.fields, **names})

    def in_file(
        self, path: Path, name: str | None = None, where: str | None = None, relative: str = ""
    ) -> Media:
        """Return what a file holds; ``name``, ``where`` and ``relative`` word its errors."""
        name, where = name or str(path), where or str(path)
        try:
            content = path.read_bytes() if path.is_file() else None
            reason = "a folder" if path.is_dir() else "no file"
        except OSError as error:
            content, reason = None, str(error.strerror)
        if content is None:
            remedy = f"Correct the path{relative}, or provide a readable {self.noun}."
            raise KingyoError(where, f"an {self.noun} file", f"{reason}: {name[:80]}", remedy)
        return Media(sha256=sha256(content).hexdigest(), type=self.type_of(content, where), path=path)

    def _in_cell(self, cell: object, folder: Path, where: str) -> Media:
        may_be_absolute = isinstance(cell, Mapping)  # from the library datasets
        if isinstance(cell, Mapping):
            stored = cast("Mapping[str, object]", cell)
            cell = stored.get("path") if stored.get("bytes") is None else stored["bytes"]
        if is_decoded(cell):
            stream = BytesIO()
            cast("Image", cell).save(stream, "PNG")
            cell = stream.getvalue()
        if isinstance(cell, bytes | bytearray):
            content = bytes(cell)
            kind = self.type_of(content, where)
            return Media(sha256=sha256(content).hexdigest(), type=kind, content=content)
        if not isinstance(cell, str) or not cell:
            received = "nothing" if cell == "" else "null" if cell is None else repr(cell)[:80]
            raise self._unread_error(where, received)
        root = folder.resolve()
        try:
            path = (root / cell.replace("\0", "")).resolve()
        except ValueError as error:  # half a character
            raise self._unread_error(where, repr(cell)[:80]) from error
        if not path.is_relative_to(root) or (Path(cell).is_absolute() and not may_be_absolute):
            remedy = f"Put the {self.noun} below {root}, and give its path relative to that folder."
            raise KingyoError(where, "a relative path inside the folder of the data", cell[:80], remedy)
        return self.in_file(path, cell, where, "" if may_be_absolute else f", which is relative to {root}")

    def _unread_error(self, where: str, received: str) -> KingyoError:
        expected = f"an {self.noun}: a path, bytes, or a list of these"
        return KingyoError(where, expected, received, f"Provide an {self.noun}, or delete this row.")


def _image_type(content: bytes, where: str) -> str:
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


IMAGES = MediaFormat(noun="image", type_of=_image_type)
with_images, image_file = IMAGES.with_media, IMAGES.in_file
