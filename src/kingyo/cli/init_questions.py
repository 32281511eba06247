"""The questions of ``kingyo init``. Each is repeated until its answer is valid.

Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import typer

from kingyo.cli.init_columns import TaskColumns, read_first
from kingyo.cli.terminal import echo, visible
from kingyo.errors import KingyoError

T = TypeVar("T")


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
        echo(f"Fields of its first row: {', '.join(read_first(text).columns)}")
        return text

    return _ask("Task file (.jsonl or .csv with prompts and answers)", check)


def ask_prompt(columns: TaskColumns) -> str:
    """Ask for a prompt template whose fields the task file has."""

    def check(text: str) -> str:
        prompt = text.replace("\\n", "\n")
        _check_task({**replace(columns, prompt=prompt).without_answer, "answer": None}, "exact")
        return prompt

    question = "Prompt template ({field} is filled in; {{ and }} are literal braces)"
    return _ask(question, check, default=columns.prompt)


def ask_answer(columns: TaskColumns) -> str:
    """Ask for the field with the correct answer."""

    def check(answer: str) -> str:
        _check_task(replace(columns, answer=answer).keys, "exact")
        return answer

    return _ask("Field with the correct answer", check, default=columns.answer)


def ask_grader(columns: TaskColumns, folder: Path) -> str:
    """Ask for a grader that can grade the correct answers; ``folder`` is that of the grader's file."""

    def check(name: str) -> str:
        _check_task(columns.keys, name, folder)
        return name

    return _ask("Grader (exact, number, contains, or file.py:function)", check, default="exact")


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


def _check_task(keys: Mapping[str, object], grader: str, folder: Path = Path()) -> None:
    """Check that prompt and answer fit the rows, and that the grader accepts the correct answers."""
    from kingyo.tasks import Sizes, load_items, make_splits, parse_task_spec
    from kingyo.tasks.verdict import build_verdict

    items = load_items(parse_task_spec({**keys, "grader": grader}), Path()).items
    make_splits(items, Sizes())
    if keys.get("answer") or keys.get("answers"):
        build_verdict([(grader, None)], folder).check(items)
