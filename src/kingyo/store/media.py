"""Images of a run: files in its folder, named by hash."""

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
    """Return media as JSON without their content."""
    return None if media is None else _MEDIA.dump_json(media, exclude={"path", "content"}).decode()


def read_media(text: str | None, run: Path) -> Media | None:
    """Return the media that ``media_json`` wrote, with their path.

    Raises:
        sqlite3.DataError: the text is something else.
    """
    if text is None:
        return None
    try:
        return in_run_folder(_MEDIA.validate_json(text), run)
    except ValidationError as error:
        raise sqlite3.DataError(f"an image has changed: {text[:40]!r}") from error


def in_run_folder(media: Media, run: Path) -> Media:
    """Return media with their path in a run folder."""
    return replace(media, path=run / MEDIA / media.name, content=None)


def keep_media(media: Iterable[Media], run: Path) -> None:
    """Write each file once into a run folder; a file is complete or missing.

    Raises:
        KingyoError: media cannot be read, or the folder cannot be written.
    """
    for image in dict.fromkeys(media):
        path = run / MEDIA / image.name
        if path.is_file():
            continue
        content = image.read()
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
