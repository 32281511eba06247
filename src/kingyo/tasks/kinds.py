"""The kinds of tasks: what one brings along, and where it is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from kingyo.errors import KingyoError
from kingyo.registry import Registry
from kingyo.tasks.rows import Row
from kingyo.tasks.text import TextSettings, read_text_item
from kingyo.types import Item, Split, Task

Splits = Mapping[Split, Sequence[Item]]
ReadItem = Callable[[Row, Any], object]
"""Makes a row an item, by the settings of its kind."""
FIX = "Fix the kind; kingyo.testing.tasks holds the contract of a task."


class TaskKind(Protocol):
    """What the registry holds: usually the class of the task itself.

    It may have a frozen dataclass ``Settings``, the keys of the task that are its own, and a static method
    ``read_item(row, settings)``, which returns an Item without an id. Without them they are those of
    ``generate``: ``TextSettings`` and ``read_text_item``.
    """

    def __call__(self, name: str, settings: Any, splits: Splits, folder: Path, /) -> Task:
        """Make a task of its name, its settings, its items, and the folder where relative paths start."""
        ...


TASK_KINDS: Registry[TaskKind] = Registry("task kind", "kingyo.tasks", "kingyo.tasks")
"""Every kind of task by name. Plug-ins: entry points of the group ``kingyo.tasks``."""


def settings_class(kind: str, folder: Path) -> type[object]:
    """Return the dataclass of a kind's options.

    Args:
        kind: its name, or ``file.py:Name``.
        folder: where relative paths start.

    Raises:
        KingyoError: nobody knows the kind, or its ``Settings`` is no dataclass.
    """
    found = cast(object, getattr(TASK_KINDS.get(kind, folder), "Settings", TextSettings))
    if not isinstance(found, type) or not is_dataclass(found):
        received = repr(cast(object, found))[:80]
        raise KingyoError(f"kind {kind}", expected="a dataclass as Settings", received=received, remedy=FIX)
    return cast("type[object]", found)


def reader_of(kind: str, folder: Path) -> ReadItem:
    """Return what makes a row an item of a kind.

    Raises:
        KingyoError: the kind has options of its own, but does not say how it reads a row.
    """
    read = getattr(TASK_KINDS.get(kind, folder), "read_item", None)
    if read is None and issubclass(settings_class(kind, folder), TextSettings):
        return read_text_item
    if not callable(read):
        raise KingyoError(
            f"kind {kind}",
            expected="a static method read_item(row, settings) beside its own Settings",
            received=repr(read),
            remedy="Write it, or derive Settings from kingyo.tasks.TextSettings.",
        )
    return cast(ReadItem, read)
