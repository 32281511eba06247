"""Load the items of a task, and build it; a crash of a user's own kind is a clear error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.tasks.kinds import FIX, TASK_KINDS, GradedSettings, ReadItem, Splits
from kingyo.tasks.near_duplicates import question
from kingyo.tasks.rows import Row, read_rows
from kingyo.tasks.spec import TaskSpec, settings_of
from kingyo.tasks.text import TextSettings, read_text_item
from kingyo.types import Item, Task


@dataclass(frozen=True, kw_only=True)
class LoadedItems:
    """The items of a file, in its order.

    Attributes:
        items: the items, without duplicates.
        duplicates: number of duplicate rows that were dropped.
        note: what to change if these should be items, or empty.
    """

    items: tuple[Item, ...]
    duplicates: int
    note: str = ""


def load_items(spec: TaskSpec, folder: Path) -> LoadedItems:
    """Read, check and de-duplicate the items of a task.

    Rows are duplicates if their prompts are equal after NFKC and collapsing white space, and their choices
    and media are equal; the first row is kept. Different answers are an error, unless one row asks a question
    twice.
    """
    settings = settings_of(spec, folder)
    read = _reader(spec.kind_name, settings, folder)
    items: dict[str, Item] = {}
    firsts: dict[str, tuple[Row, Row]] = {}
    differing: set[str] = set()
    rows = 0
    for whole, row in _rows(spec, settings, folder):
        rows += 1
        item = _read(row, read, settings, spec)
        first = items.setdefault(item.id, item)
        first_whole, first_row = firsts.setdefault(item.id, (whole, row))
        differing |= {name for name, _ in whole.texts().items() ^ first_whole.texts().items()}
        if first.answer != item.answer and not (row.unfolded and row.unfolded == first_row.unfolded):
            expected = f"one answer per question, {first.answer!r} as at {first_row.where}"
            remedy = "Delete the wrong row, or make the two questions differ."
            raise KingyoError(row.where, expected, f"{item.answer!r} to the same question", remedy)
    if not items:
        raise KingyoError(
            f"data: {spec.data if isinstance(spec.data, str) else spec.data.dataset}",
            "at least one row",
            "no rows",
            "Add rows, or set data: to another file or dataset.",
        )
    note = settings.note_on_dropped(sorted(differing)) if isinstance(settings, GradedSettings) else ""
    return LoadedItems(items=tuple(items.values()), duplicates=rows - len(items), note=note)


def _reader(kind: str, settings: object, folder: Path) -> ReadItem:
    """Return the function that turns a row into an item of a kind."""
    read = getattr(TASK_KINDS.get(kind, folder), "read_item", None)
    if read is None and isinstance(settings, TextSettings):
        return read_text_item
    if not callable(read):
        expected = "a static method read_item(row, settings), since it has its own Settings"
        remedy = "Add the method, or derive Settings from kingyo.tasks.TextSettings."
        raise KingyoError(f"kind {kind}", expected, repr(read), remedy)
    return cast(ReadItem, read)


def _rows(spec: TaskSpec, settings: object, folder: Path) -> Iterator[tuple[Row, Row]]:
    """Yield a row of the data and the row of an item in it, for each item."""
    for whole in read_rows(spec.data, folder):
        for row in settings.unfolded(whole) if isinstance(settings, GradedSettings) else (whole,):
            yield whole, row


def _read(row: Row, read: ReadItem, settings: object, spec: TaskSpec) -> Item:
    remedy = "Fix read_item of the kind, or delete this row."
    with crashes_as_errors(f"{row.where}: {_title(spec)}", expected="an item", remedy=remedy):
        item = read(row, settings)
        if not isinstance(item, Item):
            raise TypeError(f"{item!r:.80}, which is not an Item")
        if not isinstance(cast(object, item.group), str | None):
            raise TypeError(f"the group {item.group!r:.80}, which is not text")
    if not item.fields.keys() >= row.columns.keys():
        item = replace(item, fields={**row.texts(), **item.fields})
    for name, text in [*item.fields.items(), ("prompt", item.prompt), ("group", item.group)]:
        _require_unicode(name, text, row.where)
    return replace(item, id=hashlib.sha256(question(item).encode()).hexdigest()[:16], where=row.where)


def _require_unicode(name: str, text: str, where: str) -> None:
    r"""Reject lone surrogates: JSON can hold ``\ud83d`` alone, but UTF-8 files and databases cannot."""
    try:
        f"{name}{text}".encode()
    except UnicodeEncodeError as error:
        received = f"U+{ord(error.object[error.start]):04X}, half a character"
        remedy = "Write the complete character, or remove it."
        raise KingyoError(f"{where}: {name!a}", "valid Unicode text", received, remedy) from error


def build_task(spec: TaskSpec, splits: Splits, folder: Path) -> Task:
    """Build the task of a spec."""
    settings = settings_of(spec, folder)
    build = TASK_KINDS.get(spec.kind_name, folder)
    title, expected = _title(spec), "a task with name, score and the given items"
    with crashes_as_errors(title, expected=expected, remedy=FIX):
        task = cast(object, build(spec.name, settings, splits, folder))
        own = {split: list(task.items(split)) for split in splits} if isinstance(task, Task) else {}
    if not isinstance(task, Task) or any(own[split] != list(items) for split, items in splits.items()):
        received = "other items" if own else f"{task!r:.80}"
        raise KingyoError(title, expected, received, FIX)
    return task


def _title(spec: TaskSpec) -> str:
    return f"kind {spec.kind_name} of task {spec.name}"
