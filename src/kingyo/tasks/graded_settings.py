"""The options of kinds of tasks whose answers are scored by graders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Self, cast

from pydantic import BeforeValidator, Field

from kingyo.tasks.rows import Row

Text = Annotated[str, Field(min_length=1)]
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
        grader: a name, a mapping {name: option}, or a list of these.
    """

    grader: Annotated[GraderSpec | list[GraderSpec], BeforeValidator(_check_graders)]

    def __post_init__(self) -> None:
        if not self.graders:
            raise ValueError("at least one grader")

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
