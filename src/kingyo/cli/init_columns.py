"""The columns of the task of ``kingyo init``: images, prompt and right answer, guessed from the first row.

Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.errors import KingyoError, suggest

if TYPE_CHECKING:
    from kingyo.tasks.rows import Row

ANSWER, ANSWERS, QUESTION = "answer", "answers", "question"
MIN_ROWS = 4
UNLIKELY = ("id", "index", "split")  # fields that are rarely the prompt or the answer
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class TaskColumns:
    """The task file, and how an item is read from its columns.

    Attributes:
        lists: the columns with a list in the first row.
        images: the column of the images; None for a text task.
    """

    task: str
    fields: Sequence[str]
    lists: Sequence[str] = ()
    images: str | None = None
    prompt: str = ""
    answer: str = ANSWER

    def __str__(self) -> str:
        shown = "" if self.images is None else f"images {self.images!r}, "
        return f"{shown}prompt {self.prompt!r}, {self.answer_key} {self.answer!r}"

    @property
    def flags(self) -> str:
        """The options that name the columns."""
        return "--prompt and --answer" if self.images is None else "--images, --prompt and --answer"

    @property
    def answer_key(self) -> str:
        """The key of the task that names the column: ``answers`` for several answers about images."""
        return ANSWERS if self.images is not None and self.answer in self.lists else ANSWER

    @property
    def without_answer(self) -> dict[str, object]:
        """The keys of the task, without answer and grader."""
        kind = {} if self.images is None else {"kind": "vqa", "images": self.images}
        return {"data": self.task, "prompt": self.prompt, **kind}

    @property
    def keys(self) -> dict[str, object]:
        """The keys of the task, without a grader."""
        return {**self.without_answer, self.answer_key: self.answer}


def read_first(task: str) -> Row:
    """Return the first row. All rows are read, so that a broken line is reported now."""
    from kingyo.tasks.rows import read_rows

    rows = list(read_rows(task, Path()))
    if len(rows) < MIN_ROWS or not rows[0].columns:
        raise KingyoError(
            task,
            expected=f"at least {MIN_ROWS} rows with fields, for three splits",
            received=str(len(rows)),
            remedy="Add rows to the file, or name another.",
        )
    return rows[0]


def likely_columns(task: str, images: str | None) -> TaskColumns:
    """Return the columns that most likely hold the images and the prompt.

    Args:
        task: a file.
        images: the column of the images; empty if there is none, None if it is unknown.
    """
    from kingyo.tasks.cells import parse_list

    cells = {name: parse_list(cell) for name, cell in read_first(task).columns.items()}
    if images and images not in cells:
        raise KingyoError(
            "--images",
            expected=f"a field of {task}",
            received=f"{images!r}",
            remedy=suggest(images, cells),
        )
    found = (name for name, cell in cells.items() if _is_image(cell))
    columns = TaskColumns(
        task=task,
        fields=list(cells),
        lists=[name for name, cell in cells.items() if isinstance(cell, list)],
        images=next(found, None) if images is None else images or None,
    )
    return _with_prompt(columns)


def _with_prompt(columns: TaskColumns) -> TaskColumns:
    """Return the columns with a template of the field that most likely holds the prompt."""
    usual = ["prompt"] if columns.images is None else [QUESTION, "prompt"]
    likely = [*(each for each in usual if each in columns.fields), *_likely(columns)]
    return replace(columns, prompt=f"{{{likely[0]}}}")


def likely_answer(columns: TaskColumns) -> str:
    """Return the field that most likely holds the right answer, or several of them."""
    usual = [ANSWER] if columns.images is None else [ANSWER, ANSWERS]
    others = [each for each in _likely(columns) if f"{{{each}}}" not in columns.prompt]
    return [*(each for each in usual if each in columns.fields), *others, *columns.fields][0]


def _likely(columns: TaskColumns) -> Sequence[str]:
    fields = [each for each in columns.fields if each != columns.images]
    return [each for each in fields if each.lower() not in UNLIKELY] or fields or columns.fields


def _is_image(cell: object) -> bool:
    """Return whether a cell has the path of an image file, or a list of them."""
    paths = cast("Sequence[object]", cell) if isinstance(cell, list) else [cell]
    return bool(paths) and all(
        isinstance(each, str) and "://" not in each and Path(each).suffix.lower() in IMAGE_FILES
        for each in paths
    )
