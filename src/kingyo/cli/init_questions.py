"""The questions of ``kingyo init``. Each is repeated until its answer is valid.

Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import typer

from kingyo.cli.terminal import echo, visible
from kingyo.errors import KingyoError

T = TypeVar("T")

ANSWER = "answer"
MIN_ROWS = 4
UNLIKELY = ("id", "index", "split")  # fields that are rarely the prompt or the answer


def ask_base() -> str | None:
    """Ask for the common base model; None without one."""
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
    """Ask for the task file, and print its fields."""

    def check(text: str) -> str:
        echo(f"Fields of its first row: {', '.join(read_fields(text))}")
        return text

    return _ask("Task file (.jsonl or .csv with prompts and answers)", check)


def ask_prompt(task: str, fields: Sequence[str]) -> str:
    """Ask for a prompt template whose fields the task file has."""

    def check(text: str) -> str:
        prompt = text.replace("\\n", "\n")
        _check_task(task, prompt, None, "exact")
        return prompt

    question = "Prompt template ({field} is filled in; {{ and }} are literal braces)"
    return _ask(question, check, default=likely_prompt(fields))


def ask_answer(task: str, prompt: str, fields: Sequence[str]) -> str:
    """Ask for the field with the correct answer."""

    def check(answer: str) -> str:
        _check_task(task, prompt, answer, "exact")
        return answer

    return _ask("Field with the correct answer", check, default=likely_answer(fields, prompt))


def ask_grader(task: str, prompt: str, answer: str, folder: Path) -> str:
    """Ask for a grader that can grade the correct answers; ``folder`` is that of the grader's file."""

    def check(name: str) -> str:
        _check_task(task, prompt, answer, name, folder)
        return name

    return _ask("Grader (exact, number, contains, or file.py:function)", check, default="exact")


def read_fields(task: str) -> list[str]:
    """Return the fields of the first row. All rows are read, so that a broken line is reported now."""
    from kingyo.tasks.rows import read_rows

    rows = list(read_rows(task, Path()))
    if len(rows) < MIN_ROWS or not rows[0].columns:
        raise KingyoError(
            task,
            expected=f"at least {MIN_ROWS} rows with fields, for three splits",
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
        raise KingyoError(
            "standard input",
            expected="an answer to each question",
            received="the end of the input",
            remedy="Answer with options instead: --source for each model, --task, --grader, and --base if "
            "there is a base.",
        ) from error


def _check_task(task: str, prompt: str, answer: str | None, grader: str, folder: Path = Path()) -> None:
    """Check that prompt and answer fit the rows, and that the grader accepts the correct answers."""
    from kingyo.tasks import Sizes, load_items, make_splits, parse_task_spec
    from kingyo.tasks.verdict import build_verdict

    spec = parse_task_spec({"data": task, "prompt": prompt, "answer": answer, "grader": grader})
    items = load_items(spec, Path()).items
    make_splits(items, Sizes())
    if answer is not None:
        build_verdict([(grader, None)], folder).check(items)
