"""Load a task's items: read rows by the rules of its kind, check them, and remove duplicates."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.errors import KingyoError, crash
from kingyo.tasks.rows import Row, read_rows
from kingyo.tasks.spec import TaskSpec, settings_of
from kingyo.tasks.task_kinds import ReadItem, reader_of
from kingyo.types import Item


@dataclass(frozen=True, kw_only=True)
class LoadedItems:
    """The items of a file, in its order, and the number of duplicate rows that were dropped."""

    items: tuple[Item, ...]
    duplicates: int


def load_items(spec: TaskSpec, folder: Path) -> LoadedItems:
    """Read, check and de-duplicate the items of a task.

    Rows are duplicates if their prompts are equal after NFKC and collapsing white space, and their choices
    and media are equal; the first row is kept.

    Args:
        spec: the task.
        folder: base of relative paths.

    Raises:
        KingyoError: an invalid line, a missing field, duplicates with different answers, no rows, or a
            failure in a user's own kind.
    """
    settings = settings_of(spec, folder)
    read = reader_of(spec.kind_name, folder)
    items: dict[str, Item] = {}
    places: dict[str, str] = {}
    rows = 0
    for row in read_rows(spec.data, folder):
        rows += 1
        item = _identified(_read(row, read, settings, spec), row.where)
        first = items.setdefault(item.id, item)
        first_place = places.setdefault(item.id, row.where)
        if first.answer != item.answer:
            raise KingyoError(
                row.where,
                expected=f"one answer per question, {first.answer!r} as at {first_place}",
                received=f"{item.answer!r} to the same question",
                remedy="Delete the wrong row, or make the two questions differ.",
            )
    if not items:
        source = spec.data if isinstance(spec.data, str) else spec.data.dataset
        raise KingyoError(
            f"data: {source}",
            expected="at least one row",
            received="no rows",
            remedy="Add rows, or set data: to another file or dataset.",
        )
    return LoadedItems(items=tuple(items.values()), duplicates=rows - len(items))


def question(item: Item) -> str:
    """Return the key that duplicates share.

    It joins the prompt (after NFKC, with white space collapsed), the choices, and the hashes of the media.
    """
    normalised = " ".join(unicodedata.normalize("NFKC", item.prompt).split())
    return "\0".join([normalised, *item.choices, *(each.sha256 for each in item.media)])


def _read(row: Row, read: ReadItem, settings: object, spec: TaskSpec) -> Item:
    try:
        item: object = read(row, settings)
        if not isinstance(item, Item):
            raise TypeError(f"{item!r}, which is not an Item"[:120])
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
    r"""Reject lone surrogates: JSON can hold ``\ud83d`` alone, but UTF-8 files and databases cannot."""
    for name, text in [*fields.items(), ("prompt", prompt)]:
        try:
            f"{name}{text}".encode()
        except UnicodeEncodeError as error:
            surrogate = f"U+{ord(error.object[error.start]):04X}, half a character"
            raise KingyoError(
                f"{where}: {name!a}",
                expected="valid Unicode text",
                received=surrogate,
                remedy="Write the complete character, or remove it.",
            ) from error
