"""The images of a run as files in its folder, called by their hashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from kingyo.atomic import write_bytes
from kingyo.errors import KingyoError
from kingyo.types import Media

MEDIA = "media"


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
