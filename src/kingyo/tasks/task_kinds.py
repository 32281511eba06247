"""Kinds of tasks: their registry, their options, how they read rows, and the base of the built-in ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.registry import Registry
from kingyo.tasks.rows import Row
from kingyo.tasks.text import TextSettings, read_text_item
from kingyo.types import Item, Split, Task

Splits = Mapping[Split, Sequence[Item]]
ReadItem = Callable[[Row, Any], object]
"""Turns a row into an item, given the settings of its kind."""
FIX = "Fix the kind; kingyo.testing.tasks has tests of the contract."


class TaskKind(Protocol):
    """Builds a task; usually the class of the task.

    It may have a frozen dataclass ``Settings`` with its keys of the YAML, and a static method
    ``read_item(row, settings)`` that returns an Item without an id. The defaults are ``TextSettings`` and
    ``read_text_item``, as for ``generate``.
    """

    def __call__(self, name: str, settings: Any, splits: Splits, folder: Path, /) -> Task:
        """Build a task from its name, settings, items, and the base folder of relative paths."""
        ...


@runtime_checkable
class NamesMeasures(Protocol):
    """Settings whose set measures have short names in the YAML and full names elsewhere."""

    def measure_name(self, measure: str) -> str:
        """Return the full name of a measure."""
        ...


TASK_KINDS: Registry[TaskKind] = Registry("task kind", "kingyo.tasks", "kingyo.tasks")
"""Kinds of tasks by name. Plug-ins use the entry point group ``kingyo.tasks``."""


class SplitTask:
    """A task's name, and its items by split."""

    def __init__(self, name: str, splits: Splits) -> None:
        self._name = name
        self._splits = {split: tuple(items) for split, items in splits.items()}

    @property
    def name(self) -> str:
        """The task's name, unique within a run."""
        return self._name

    def items(self, split: Split) -> Sequence[Item]:
        """Return the items of a split, in a fixed order."""
        if split not in self._splits:
            raise unknown_name_error("split", split, self._splits)
        return self._splits[split]

    def all_items(self) -> list[Item]:
        """Return the items of all splits."""
        return [item for items in self._splits.values() for item in items]


def settings_class(kind: str, folder: Path) -> type[object]:
    """Return the dataclass of a kind's options."""
    settings = cast(object, getattr(TASK_KINDS.get(kind, folder), "Settings", TextSettings))
    if not isinstance(settings, type) or not is_dataclass(settings):
        raise KingyoError(
            f"kind {kind}", expected="a dataclass as Settings", received=f"{settings!r:.80}", remedy=FIX
        )
    return cast("type[object]", settings)


def reader_of(kind: str, folder: Path) -> ReadItem:
    """Return the function that turns a row into an item of a kind."""
    read = getattr(TASK_KINDS.get(kind, folder), "read_item", None)
    if read is None and issubclass(settings_class(kind, folder), TextSettings):
        return read_text_item
    if not callable(read):
        raise KingyoError(
            f"kind {kind}",
            expected="a static method read_item(row, settings), since it has its own Settings",
            received=repr(read),
            remedy="Add the method, or derive Settings from kingyo.tasks.TextSettings.",
        )
    return cast(ReadItem, read)
