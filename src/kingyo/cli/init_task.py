"""The task of ``kingyo init``: its kind and its columns, guessed from the models and the first row.

Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from kingyo.errors import KingyoError, suggest

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.tasks.rows import Row

TaskKind: TypeAlias = Literal["generate", "vqa", "classify", "draw"]
MIN_ROWS = 4
SEED = "seed"
PROMPTS: Mapping[TaskKind, Sequence[str]] = {"vqa": ("question", "prompt"), "draw": ("prompt", "caption")}
"""Usual names of the column of the prompt; `prompt` for other kinds."""
ANSWERS: Mapping[TaskKind, Sequence[str]] = {"vqa": ("answer", "answers"), "classify": ("label", "class")}
"""Usual names of the column of the right answer; `answer` for other kinds."""
UNLIKELY = ("id", "index", "split", SEED)
"""Columns that are rarely the prompt or the answer."""
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class TaskColumns:
    """The task file, and how an item is read from its columns.

    Attributes:
        cells: the first row.
        images: the column of the images, if the task has any.
        prompt: the template of the prompt; not for classification.
        answer: the column of the right answer, or class; not for pictures.
    """

    kind: TaskKind
    data: str
    cells: Mapping[str, object]
    images: str | None = None
    prompt: str = ""
    answer: str = ""

    @property
    def columns(self) -> dict[str, object]:
        """The keys of the task that name columns."""
        if self.kind == "classify":
            return {"image": self.images, "label": self.answer}
        if self.kind == "draw":
            return {"prompt": self.prompt, **({SEED: SEED} if SEED in self.cells else {})}
        has_several = self.kind == "vqa" and isinstance(self.cells.get(self.answer), list)
        images = {"images": self.images} if self.kind == "vqa" else {}
        return {**images, "prompt": self.prompt, "answers" if has_several else "answer": self.answer or None}

    @property
    def keys(self) -> dict[str, object]:
        """The keys of the task, without a grader."""
        kind = {} if self.kind == "generate" else {"kind": self.kind}
        return {**kind, "data": self.data, **self.columns}

    @property
    def flags(self) -> str:
        """The options that name the columns."""
        with_images = {"classify": "--images and --answer", "draw": "--prompt"}
        texts = "--prompt and --answer" if self.images is None else "--images, --prompt and --answer"
        return with_images.get(self.kind, texts)

    def __str__(self) -> str:
        return ", ".join(f"{key} {value!r}" for key, value in self.columns.items())


def read_first(data: str) -> Row:
    """Return the first row. All rows are read, so that a broken line is reported now."""
    from kingyo.tasks.rows import read_rows

    rows = list(read_rows(data, Path()))
    if len(rows) < MIN_ROWS or not rows[0].columns:
        raise KingyoError(
            data,
            expected=f"at least {MIN_ROWS} rows with fields, for three splits",
            received=str(len(rows)),
            remedy="Add rows to the file, or name another.",
        )
    return rows[0]


def likely_task(data: str, kind: ModelKind, images: str | None) -> TaskColumns:
    """Return the task that models of a kind most likely have, with its images and its prompt.

    Args:
        data: a file.
        kind: of the models.
        images: the column of the images; empty if there is none, None if it is unknown.
    """
    from kingyo.tasks.rows import parse_list

    cells = {name: parse_list(cell) for name, cell in read_first(data).columns.items()}
    if images and images not in cells:
        remedy = suggest(images, cells)
        raise KingyoError("--images", expected=f"a field of {data}", received=f"{images!r}", remedy=remedy)
    found = next((name for name, cell in cells.items() if _is_image(cell)), None)
    chosen = found if images is None else images or None
    columns = TaskColumns(kind=_kind_of_task(kind, data, chosen), data=data, cells=cells, images=chosen)
    if columns.kind == "classify":
        return columns
    if columns.kind == "draw":
        columns = replace(columns, images=None)
    usual = PROMPTS.get(columns.kind, ("prompt",))
    return replace(columns, prompt=f"{{{_likely(columns, usual)[0]}}}")


def likely_answer(columns: TaskColumns) -> str:
    """Return the field that most likely holds the right answer, several of them, or the class."""
    fields = _likely(columns, ANSWERS.get(columns.kind, ("answer",)))
    return next((each for each in fields if f"{{{each}}}" not in columns.prompt), fields[0])


def _likely(columns: TaskColumns, usual: Iterable[str]) -> Sequence[str]:
    """Return all fields, the likely ones first."""
    fields = [each for each in columns.cells if each != columns.images] or list(columns.cells)
    named = [each for each in usual if each in columns.cells]
    return [*named, *(each for each in fields if each.lower() not in UNLIKELY), *fields]


def _kind_of_task(kind: ModelKind, data: str, images: str | None) -> TaskKind:
    from kingyo.types import AnswersImages, DrawsPictures, RatesClasses

    if DrawsPictures in kind.provides:
        return "draw"
    if images is not None and AnswersImages in kind.provides:
        return "vqa"
    if (RatesClasses in kind.provides) == (images is not None):
        return "generate" if images is None else "classify"
    if images is None:
        raise KingyoError(
            "--images",
            expected=f"a field with an image for models of kind {kind.name}",
            received=f"{data}, whose first row has none",
            remedy="Name the field with paths of images.",
        )
    raise KingyoError(
        "--source",
        expected=f"a model that sees, for the images in {images!r} of {data}",
        received=f"models of kind {kind.name}",
        remedy="Add a vision-language model, or write --images '' for a task without images.",
    )


def _is_image(cell: object) -> bool:
    """Return whether a cell has the path of an image file, or a list of them."""
    paths = cast("Sequence[object]", cell) if isinstance(cell, list) else [cell]
    return bool(paths) and all(
        isinstance(each, str) and "://" not in each and Path(each).suffix.lower() in IMAGE_FILES
        for each in paths
    )
