"""Read a task file for ``kingyo init``, and check settings against its rows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.types import Item

ANSWER = "answer"
MIN_ROWS = 4
UNLIKELY = ("id", "index", "split")  # fields that are rarely the prompt or the answer


def read_fields(task: str) -> list[str]:
    """Return the fields of the first row. All rows are read, so that a broken line is reported now.

    Raises:
        KingyoError: the file cannot be read, or has too few rows or no fields.
    """
    from kingyo.tasks.rows import read_rows

    rows = list(read_rows(task, Path()))
    if not rows or not rows[0].columns:
        raise KingyoError(
            task,
            expected="at least one row with fields",
            received="none",
            remedy="Add rows to the file, or name another.",
        )
    if len(rows) < MIN_ROWS:
        raise KingyoError(
            task,
            expected=f"at least {MIN_ROWS} rows for three splits",
            received=str(len(rows)),
            remedy="Add rows to the file, or name another.",
        )
    return list(rows[0].columns)


def likely_prompt(fields: Sequence[str]) -> str:
    """Return a prompt template with the field that most likely holds the prompt."""
    likely = [each for each in fields if each.lower() not in UNLIKELY] or fields
    return f"{{{'prompt' if 'prompt' in fields else likely[0]}}}"


def likely_answer(fields: Sequence[str], prompt: str) -> str:
    """Return the field that most likely holds the correct answer."""
    likely = [each for each in fields if each.lower() not in UNLIKELY and f"{{{each}}}" not in prompt]
    return ANSWER if ANSWER in fields else (likely or fields)[0]


@contextmanager
def with_fields(fields: Sequence[str]) -> Generator[None]:
    """Add the names of all fields to the remedy of an error."""
    try:
        yield
    except KingyoError as error:
        names = f"Fields: {', '.join(fields)}."
        if names in error.remedy:
            raise
        raise KingyoError(
            error.argument,
            expected=error.expected,
            received=error.received,
            remedy=f"{error.remedy} {names}",
        ) from error


def read_items(task: str, prompt: str, answer: str | None) -> Sequence[Item]:
    """Return the items of a task file with a prompt template and an answer field."""
    from kingyo.tasks import load_items, parse_task_spec

    spec = parse_task_spec({"data": task, "prompt": prompt, "answer": answer, "grader": "exact"})
    return load_items(spec, Path()).items


def check_grader(grader: str, items: Sequence[Item], folder: Path) -> None:
    """Check that a grader exists and accepts the correct answers of items.

    Args:
        grader: its name, or ``file.py:function``.
        items: the items.
        folder: the folder of the grader's file.

    Raises:
        KingyoError: the grader is unknown, or cannot grade the answers.
    """
    from kingyo.tasks.verdict import build_verdict

    build_verdict([(grader, None)], folder).check(items)
