"""The questions of ``kingyo init``, and the task: guessed from the models and the first row of its file.

Each question is repeated until its answer is valid. Imports are light, so that the first appears at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast

import typer

from kingyo.cli.output import echo, visible
from kingyo.errors import KingyoError, suggest

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.tasks.rows import Row

T = TypeVar("T")
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
        if self.kind == "classify":
            return {"image": self.images, "label": self.answer}
        if self.kind == "draw":
            return {"prompt": self.prompt, **({SEED: SEED} if SEED in self.cells else {})}
        has_several = self.kind == "vqa" and isinstance(self.cells.get(self.answer), list)
        images = {"images": self.images} if self.kind == "vqa" else {}
        return {**images, "prompt": self.prompt, "answers" if has_several else "answer": self.answer or None}

    @property
    def keys(self) -> dict[str, object]:
        kind = {} if self.kind == "generate" else {"kind": self.kind}
        return {**kind, "data": self.data, **self.columns}

    @property
    def flags(self) -> str:
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
        expected = f"at least {MIN_ROWS} rows with fields, for three splits"
        raise KingyoError(data, expected, str(len(rows)), "Add rows to the file, or name another.")
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
        raise KingyoError("--images", f"a field of {data}", f"{images!r}", remedy)
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
    from kingyo.core.types import AnswersImages, DrawsPictures, RatesClasses

    if DrawsPictures in kind.provides:
        return "draw"
    if images is not None and AnswersImages in kind.provides:
        return "vqa"
    if (RatesClasses in kind.provides) == (images is not None):
        return "generate" if images is None else "classify"
    if images is None:
        expected = f"a field with an image for models of kind {kind.name}"
        remedy = "Name the field with paths of images."
        raise KingyoError("--images", expected, f"{data}, whose first row has none", remedy)
    expected = f"a model that sees, for the images in {images!r} of {data}"
    remedy = "Add a vision-language model, or write --images '' for a task without images."
    raise KingyoError("--source", expected, f"models of kind {kind.name}", remedy)


def _is_image(cell: object) -> bool:
    paths = cast("Sequence[object]", cell) if isinstance(cell, list) else [cell]
    return bool(paths) and all(
        isinstance(each, str) and "://" not in each and Path(each).suffix.lower() in IMAGE_FILES
        for each in paths
    )


def ask_base() -> str | None:
    return _ask("Base model (folder or Hub name; empty if there is none)", str, default="") or None


def ask_sources(check: Callable[[Sequence[str]], object]) -> list[str]:
    """Ask for two or more models. ``check`` raises a KingyoError if those so far do not go together."""
    models: list[str] = []

    def validated(model: str) -> str:
        if model:
            check([*models, model])
        return model

    while True:
        is_optional = len(models) > 1
        hint = "; empty to continue" if is_optional else ""
        question = f"Model {len(models) + 1} to merge (folder or Hub name{hint})"
        model = _ask(question, validated, default="" if is_optional else None)
        if not model:
            return models
        models.append(model)


def ask_task() -> str:

    def check(text: str) -> str:
        echo(f"Fields of its first row: {', '.join(read_first(text).columns)}")
        return text

    return _ask("Task file (.jsonl or .csv with prompts or images, and answers)", check)


def ask_prompt(columns: TaskColumns) -> str:
    """Ask for a prompt template whose fields the task file has."""

    def check(text: str) -> str:
        prompt = text.replace("\\n", "\n")
        _check_items(replace(columns, prompt=prompt).keys)
        return prompt

    question = "Prompt template ({field} is filled in; {{ and }} are literal braces)"
    return _ask(question, check, default=columns.prompt)


def ask_answer(columns: TaskColumns) -> str:

    def check(answer: str) -> str:
        _check_items(replace(columns, answer=answer).keys)
        return answer

    what = "class" if columns.kind == "classify" else "answer"
    return _ask(f"Field with the correct {what}", check, default=columns.answer)


def ask_grader(columns: TaskColumns, folder: Path) -> object:
    """Ask for a grader that can grade the items; ``folder`` is that of the grader's files."""

    def check(text: str) -> object:
        grader = parse_grader(text)
        _check_items({**columns.keys, "grader": grader}, folder)
        return grader

    if columns.kind == "draw":
        return _ask("Grader, such as {classifier: {model: judge, label: motif}}", check)
    return _ask("Grader (exact, number, contains, or file.py:function)", check, default="exact")


def ask_chat() -> bool:

    def check(text: str) -> bool:
        if text.lower() not in ("y", "yes", "n", "no"):
            raise KingyoError("chat", "y or n", f"'{text}'", "Answer y or n.")
        return text.lower().startswith("y")

    return _ask("Send prompts as user messages in the models' chat template (y or n)", check, default="y")


def parse_grader(text: str) -> object:
    """Return a grader, or several with options, as run.yaml has them."""
    import yaml

    try:
        return yaml.safe_load(text) if text.startswith(("{", "[")) else text
    except yaml.YAMLError as error:
        expected = "a name, or YAML such as {classifier: {model: judge, label: motif}}"
        remedy = "Close all brackets, and write a space after each colon."
        raise KingyoError("grader", expected, f"{text!r:.80}", remedy) from error


def _ask(question: str, check: Callable[[str], T], *, default: str | None = None) -> T:
    line = f"{question} [{visible(default)}]" if default else question
    while True:
        text = _read(line, default)
        try:
            return check(text)
        except KingyoError as error:
            echo(f"Error: {error}", err=True)


def _read(question: str, default: str | None) -> str:
    try:
        if sys.stdin is None:  # closed
            raise typer.Abort
        return str(typer.prompt(question, default=default, show_default=False))
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise
        echo("")
        expected = "an answer to each question"
        remedy = (
            "Answer with options instead: --source for each model, --task, --grader, and --base if "
            "there is a base."
        )
        raise KingyoError("standard input", expected, "the end of the input", remedy) from error


def _check_items(keys: Mapping[str, object], folder: Path | None = None) -> None:
    """Check that prompt and answer fit the rows; with a folder, also that the grader accepts the answers."""
    from kingyo.tasks import Sizes, build_task, load_items, make_splits, parse_task_spec

    grader = {} if keys.get("kind") == "classify" else {"grader": "exact"}
    spec = parse_task_spec({**grader, **keys})
    splits = make_splits(load_items(spec, Path()).items, Sizes())
    if folder is not None:
        build_task(spec, splits, folder)
