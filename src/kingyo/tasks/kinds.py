"""Kinds of tasks: their registry, the base of the built-in ones, and the options of those with graders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, cast

from pydantic import BeforeValidator, Field

from kingyo.core.io.schema import Number, Real
from kingyo.core.types import Item, Split, Task
from kingyo.errors import unknown_name_error
from kingyo.registry import Registry
from kingyo.tasks.rows import Row

MAX_TIMEOUT = 86_400
"""Maximum of time limits in seconds: one day."""
Text = Annotated[str, Field(min_length=1)]
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


TASK_KINDS: Registry[TaskKind] = Registry("task kind", "kingyo.tasks", "kingyo.tasks")
"""Kinds of tasks by name. Plug-ins use the entry point group ``kingyo.tasks``."""


class SplitTask:
    """The base of the built-in kinds: a task's name, and its items by split."""

    def __init__(self, name: str, splits: Splits) -> None:
        self._name = name
        self._splits = {split: tuple(items) for split, items in splits.items()}

    @property
    def name(self) -> str:
        return self._name

    def items(self, split: Split) -> Sequence[Item]:
        if split not in self._splits:
            raise unknown_name_error("split", split, self._splits)
        return self._splits[split]

    def all_items(self) -> list[Item]:
        """Return the items of all splits."""
        return [item for items in self._splits.values() for item in items]


GraderSpec = str | dict[str, object]
"""A grader's name, or a mapping from names to options: a mapping of options, or the first option's value."""


def graders_in(grader: object) -> tuple[tuple[str, object], ...]:
    """Return (name, option) of each grader in the YAML; the option may be None. Ignore invalid entries."""
    specs = cast("list[object]", grader if isinstance(grader, list) else [grader])
    pairs: list[tuple[str, object]] = []
    for each in specs:
        if isinstance(each, str):
            pairs.append((each, None))
        elif isinstance(each, dict):
            pairs += [(str(name), option) for name, option in cast("dict[object, object]", each).items()]
    return tuple(pairs)


def _check_graders(value: object) -> object:
    specs = cast("list[object]", value if isinstance(value, list) else [value])
    for each in specs:
        if not each or not isinstance(each, str | dict):
            raise ValueError("a grader's name, a mapping {name: option}, or a list of these")
    return cast(object, value)


@dataclass(frozen=True, kw_only=True)
class GradedSettings:
    """Options of a task with graders.

    Attributes:
        grader: what counts as right: a name, a mapping {name: option}, or a list of these.
        weights: weights of the graders, whose mean is the score. Default: their scores are multiplied.
        grader_timeout: seconds that a grader may take for one answer before the candidate fails.
    """

    grader: Annotated[GraderSpec | list[GraderSpec], BeforeValidator(_check_graders)]
    weights: tuple[Annotated[Real, Field(gt=0)], ...] | None = None
    grader_timeout: Annotated[Number, Field(gt=0, le=MAX_TIMEOUT)] = 300.0

    def __post_init__(self) -> None:
        n = len(self.graders)
        if not n:
            raise ValueError("at least one grader")
        if self.weights is not None and len(self.weights) != n:
            raise ValueError(f"as many weights as graders: {n}")

    @property
    def graders(self) -> tuple[tuple[str, object], ...]:
        """(name, option) of each grader; a grader without an option has None."""
        return graders_in(self.grader)

    def unfolded(self, row: Row) -> Iterator[Row]:
        """Yield the rows of the items that a row of the data holds."""
        yield row

    def note_on_dropped(self, differing: Sequence[str]) -> str:  # noqa: ARG002 (for kinds of tasks)
        """Return what to change if rows were dropped as duplicates although these columns differ, or ""."""
        return ""

    def of_stored_items(self) -> Self:
        """Return the settings for rows that hold stored items: one item each."""
        return self
