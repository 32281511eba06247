"""Items and images of a run: JSON in its database, and files in its folder, named by hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from kingyo.core.io.files import write_bytes
from kingyo.core.types import MEDIA, Item, Media
from kingyo.errors import KingyoError

_ITEM = TypeAdapter(Item)


def item_json(item: Item) -> str:
    """Return an item as JSON, with hashes and types of its media; without media and seed if it has none."""
    media = {"__all__": {"path", "content"}} if item.media else True
    excluded: dict[str, object] = {"media": media, "where": True}
    if item.seed is None:
        excluded["seed"] = True
    if not item.group:
        excluded["group"] = True
    return _ITEM.dump_json(item, exclude=cast("set[str]", excluded)).decode()


def read_item(content: str, folder: Path) -> Item:
    """Return the item that ``item_json`` wrote; its media are in the run folder."""
    item = _ITEM.validate_json(content)
    if not item.media:
        return item
    return replace(item, media=tuple(_in_run_folder(media, folder) for media in item.media))


_MEDIA = TypeAdapter(Media)


def media_json(media: Media | None) -> str | None:
    """Return media as JSON without their content."""
    return None if media is None else _MEDIA.dump_json(media, exclude={"path", "content"}).decode()


def read_media(text: str | None, run: Path) -> Media | None:
    """Return the media that ``media_json`` wrote, with their path."""
    return None if text is None else _in_run_folder(_MEDIA.validate_json(text), run)


def _in_run_folder(media: Media, run: Path) -> Media:
    return replace(media, path=run / MEDIA / media.name, content=None)


def keep_media(media: Iterable[Media], run: Path) -> dict[Media, Media]:
    """Write each file once into a run folder; a file is complete or missing. Return the media there."""
    kept: dict[Media, Media] = {}
    for image in dict.fromkeys(media):
        kept[image] = _in_run_folder(image, run)
        path = run / MEDIA / image.name
        if path.is_file():
            continue
        content = image.read()
        try:
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, content)
        except OSError as error:
            remedy = "Make room on the disk, or choose another folder with --run."
            raise KingyoError(str(path), "a file that can be written", str(error.strerror), remedy) from error
    return kept
