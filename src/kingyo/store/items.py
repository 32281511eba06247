"""Items as JSON in the run database; their media are files in the run folder."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter, ValidationError

from kingyo.store.media import in_run_folder
from kingyo.types import Item

_ITEM = TypeAdapter(Item)


def item_json(item: Item) -> str:
    """Return an item as JSON, with hashes and types of its media."""
    excluded = {"media": {"__all__": {"path", "content"}}} if item.media else {"media"}
    return _ITEM.dump_json(item, exclude=cast("set[str]", excluded)).decode()


def read_item(content: str, folder: Path) -> Item:
    """Return the item that ``item_json`` wrote.

    Args:
        content: the JSON text.
        folder: run folder.

    Raises:
        sqlite3.DataError: the text is something else.
    """
    try:
        item = _ITEM.validate_json(content)
        if not item.media:
            return item
        return replace(item, media=tuple(in_run_folder(media, folder) for media in item.media))
    except ValidationError as error:
        raise sqlite3.DataError(f"an item has changed: {content[:40]!r}") from error
