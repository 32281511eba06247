"""The images of a run as files in its folder, called by their hashes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kingyo.errors import KingyoError
from kingyo.io.files import write_bytes
from kingyo.types import MEDIA, Media

_MEDIA = TypeAdapter(Media)


def media_json(media: Media | None) -> str | None:
    """Return media as the database holds them: without what is in their file."""
    return None if media is None else _MEDIA.dump_json(media, exclude={"path", "content"}).decode()


def read_media(text: str | None, run: Path) -> Media | None:
    """Return what ``media_json`` wrote, with its file.

    Raises:
        sqlite3.DataError: it is something else: someone edited the database.
    """
    if text is None:
        return None
    try:
        return kept(_MEDIA.validate_json(text), run)
    except ValidationError as error:
        raise sqlite3.DataError(f"an image is not as it was written: {text[:40]!r}") from error


def kept(media: Media, run: Path) -> Media:
    """Return media with their file in a run folder."""
    return replace(media, path=run / MEDIA / media.name, content=None)


def keep_media(media: Iterable[Media], run: Path) -> None:
    """Write each file once into a run folder, whole or not at all.

    Raises:
        KingyoError: media cannot be read, or the folder cannot be written.
    """
    for each in dict.fromkeys(media):
        path = run / MEDIA / each.name
        if path.is_file():
            continue
        content = each.read()
        try:
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, content)
        except OSError as error:
            raise KingyoError(
                str(path),
                expected="a file that can be written",
                received=str(error.strerror),
                remedy="Make room on the disk, or choose another folder with --run.",
            ) from error
