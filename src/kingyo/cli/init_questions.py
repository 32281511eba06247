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

from kingyo.cli.init_task import TaskColumns, read_first
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
    """Ask for the field with the correct answer, or class."""

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
    """Ask whether prompts are sent in the models' chat template."""

    def check(text: str) -> bool:
        if text.lower() not in ("y", "yes", "n", "no"):
            raise KingyoError("chat", expected="y or n", received=f"'{text}'", remedy="Answer y or n.")
        return text.lower().startswith("y")

    return _ask("Send prompts as user messages in the models' chat template (y or n)", check, default="y")


def parse_grader(text: str) -> object:
    """Return a grader, or several with options, as run.yaml has them."""
    import yaml

    try:
        return yaml.safe_load(text) if text.startswith(("{", "[")) else text
    except yaml.YAMLError as error:
        raise KingyoError(
            "grader",
            expected="a name, or YAML such as {classifier: {model: judge, label: motif}}",
            received=f"{text!r:.80}",
            remedy="Close all brackets, and write a space after each colon.",
        ) from error


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


def _check_items(keys: Mapping[str, object], folder: Path | None = None) -> None:
    """Check that prompt and answer fit the rows; with a folder, also that the grader accepts the answers."""
    from kingyo.tasks import Sizes, build_task, load_items, make_splits, parse_task_spec

    grader = {} if keys.get("kind") == "classify" else {"grader": "exact"}
    spec = parse_task_spec({**grader, **keys})
    splits = make_splits(load_items(spec, Path()).items, Sizes())
    if folder is not None:
        build_task(spec, splits, folder)
