"""From rows to items: each kind of task reads its own, duplicates are removed here. Knows no grader."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.errors import KingyoError, crash
from kingyo.tasks.kinds import ReadItem, reader_of
from kingyo.tasks.rows import Row, read_rows
from kingyo.tasks.spec import TaskSpec, settings_of
from kingyo.types import Item


@dataclass(frozen=True, kw_only=True)
class LoadedItems:
    """The items of a file in its order, and how many rows were dropped because they asked the same."""

    items: tuple[Item, ...]
    duplicates: int


def load_items(spec: TaskSpec, folder: Path) -> LoadedItems:
    """Read, check and de-duplicate the items of a task.

    Two rows ask the same when their prompts (and choices) are equal after Unicode NFKC and with white space
    run together, and their media are the same; the first is kept.

    Args:
        spec: the task.
        folder: where relative paths start.

    Raises:
        KingyoError: a broken line, a missing field, two answers to one question, no rows at all, or a kind of
            the user's own that fails.
    """
    settings = settings_of(spec, folder)
    read = reader_of(spec.kind_name, folder)
    items: dict[str, Item] = {}
    places: dict[str, str] = {}
    rows = 0
    for row in read_rows(spec.data, folder):
        rows += 1
        item = _identified(_read(row, read, settings, spec), row.where)
        known = items.setdefault(item.id, item)
        place = places.setdefault(item.id, row.where)
        if known.answer != item.answer:
            raise KingyoError(
                row.where,
                expected=f"one answer to a question: {known.answer!r} at {place}",
                received=f"{item.answer!r} to the same question",
                remedy="Delete the wrong one of the two rows, or let what they ask differ.",
            )
    if not items:
        source = spec.data if isinstance(spec.data, str) else spec.data.dataset
        raise KingyoError(
            f"data: {source}",
            expected="at least one row",
            received="an empty file",
            remedy="Write rows into the file, or name another.",
        )
    return LoadedItems(items=tuple(items.values()), duplicates=rows - len(items))


def question(item: Item) -> str:
    """What two items have in common that ask the same.

    That is the prompt after NFKC with white space run together, the choices, and the hashes of the media.
    """
    normalised = " ".join(unicodedata.normalize("NFKC", item.prompt).split())
    return "\0".join([normalised, *item.choices, *(each.sha256 for each in item.media)])


def _read(row: Row, read: ReadItem, settings: object, spec: TaskSpec) -> Item:
    try:
        item: object = read(row, settings)
        if not isinstance(item, Item):
            raise TypeError(f"{item!r}, which is no Item"[:120])
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        raise KingyoError(
            f"{row.where}: kind {spec.kind_name} of task {spec.name}",
            expected="an item",
            received=crash(error),
            remedy="Fix read_item of the kind, or delete this row.",
        ) from error
    if item.fields.keys() >= row.columns.keys():
        return item
    return replace(item, fields={**row.texts(), **item.fields})


def _identified(item: Item, where: str) -> Item:
    _require_text(item.prompt, item.fields, where)
    identity = hashlib.sha256(question(item).encode("utf-8")).hexdigest()[:16]
    return replace(item, id=identity)


def _require_text(prompt: str, fields: Mapping[str, str], where: str) -> None:
    r"""Refuse half characters: JSON can write ``\ud83d`` alone, but no file and no database can hold it."""
    for name, text in [*fields.items(), ("prompt", prompt)]:
        try:
            f"{name}{text}".encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}, half a character"
            raise KingyoError(
                f"{where}: {name!a}",
                expected="text",
                received=half,
                remedy="Write the whole character, or take it out.",
            ) from error
