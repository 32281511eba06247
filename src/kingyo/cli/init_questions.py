"""The questions of ``kingyo init``. Each is repeated until its answer is valid.

Values from flags are checked in the same way: an invalid one is reported, and its question is asked.
Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from kingyo.cli.init_task import (
    ANSWER,
    check_grader,
    likely_answer,
    likely_prompt,
    read_fields,
    read_items,
    with_fields,
)
from kingyo.cli.init_yaml import SearchAnswers
from kingyo.cli.terminal import echo, visible
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.types import Item

T = TypeVar("T")

CANDIDATES = 200
MAX_NEW_TOKENS = 64
WITH_OPTIONS = {"choice": "`choices:`", "language": "a language code", "regex": "a pattern"}
"""Graders that need options -> what they need."""


@dataclass(frozen=True, kw_only=True)
class InitFlags:
    """Flags about the task and the search; None was not given."""

    prompt: str | None
    answer: str | None
    grader: str | None
    language: str | None
    candidates: int | None
    max_new_tokens: int | None


def by_default(flags: InitFlags, task: str, folder: Path) -> SearchAnswers:
    """Use defaults for flags that were not given; ask only for the grader.

    Args:
        flags: the flags.
        task: the task file. Without flags, prompt and answer are its most likely fields.
        folder: the folder of the grader's file.
    """
    fields = read_fields(task) if flags.prompt is None or flags.answer is None else []
    prompt = flags.prompt or likely_prompt(fields)
    answer = flags.answer or likely_answer(fields, prompt)
    if (flags.prompt or "{prompt}", flags.answer or ANSWER) != (prompt, answer):
        echo(f"Read from {task}: prompt {prompt}, answer {answer}. Change them with --prompt and --answer.")
    return SearchAnswers(
        task=task,
        prompt=prompt,
        answer=answer,
        grader=flags.grader or _ask_grader(None, folder),
        language=flags.language,
        candidates=flags.candidates or CANDIDATES,
        max_new_tokens=flags.max_new_tokens or MAX_NEW_TOKENS,
    )


def ask_task(flags: InitFlags, task: str | None, folder: Path) -> SearchAnswers:
    """Ask for everything about the task and the search that was not given.

    Args:
        flags: the flags.
        task: the task file; None asks for it.
        folder: the folder of the grader's file.
    """
    task, fields = _ask_task_file(task)
    prompt = _ask_prompt(flags.prompt, task, fields)
    answer, grader = _ask_answer_and_grader(flags, task, prompt, fields, folder)
    return SearchAnswers(
        task=task,
        prompt=prompt,
        answer=answer,
        grader=grader,
        language=_ask_language(flags.language),
        candidates=flags.candidates or _ask_count("Number of candidates", CANDIDATES),
        max_new_tokens=flags.max_new_tokens or _ask_count("Longest answer in tokens", MAX_NEW_TOKENS),
    )


def ask_base() -> str | None:
    """Ask for the common base model; None without one."""
    question = "Base model (folder or Hub name; empty if there is none)"
    return _ask(question, lambda text: text or None, default="")


def ask_sources(check: Callable[[Sequence[str]], object]) -> list[str]:
    """Ask for two or more models.

    Args:
        check: raises a KingyoError if the models so far are not valid together.
    """
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


def _ask(
    question: str, check: Callable[[str], T], *, given: str | None = None, default: str | None = None
) -> T:
    """Ask until the check accepts the answer, and return its result. ``given`` is tried first."""
    while True:
        text = given
        if text is None:
            line = f"{question} [{visible(default)}]" if default else question
            text = str(typer.prompt(line, default=default, show_default=False))
        try:
            return check(text)
        except KingyoError as error:
            echo(f"Error: {error}", err=True)
            given = None


def _ask_task_file(given: str | None) -> tuple[str, list[str]]:
    """Return the task file and its fields, and print the fields."""
    question = "Task file (.jsonl or .csv with prompts and answers)"
    task, fields = _ask(question, lambda text: (text, read_fields(text)), given=given)
    echo(f"Fields of its first row: {', '.join(fields)}")
    return task, fields


def _ask_prompt(given: str | None, task: str, fields: Sequence[str]) -> str:
    def check(text: str) -> str:
        from kingyo.tasks import Sizes, make_splits

        prompt = text.replace("\\n", "\n")
        with with_fields(fields):
            make_splits(read_items(task, prompt, None), Sizes())
        return prompt

    question = "Prompt template ({field} is filled in; {{ and }} are literal braces)"
    return _ask(question, check, given=given, default=likely_prompt(fields))


def _ask_answer_and_grader(
    flags: InitFlags, task: str, prompt: str, fields: Sequence[str], folder: Path
) -> tuple[str, str]:
    """Ask for the answer field and a grader, until the grader can grade the answers."""
    given, grader = flags.answer, flags.grader
    while True:
        answer, items = _ask_answer(given, task, prompt, fields)
        name = _ask_grader(grader, folder)
        try:
            check_grader(name, items, folder)
        except KingyoError as error:
            echo(f"Error: {error}", err=True)
            given = grader = None
        else:
            return answer, name


def _ask_answer(
    given: str | None, task: str, prompt: str, fields: Sequence[str]
) -> tuple[str, Sequence[Item]]:
    """Return the answer field and the items."""

    def check(answer: str) -> tuple[str, Sequence[Item]]:
        with with_fields(fields):
            return answer, read_items(task, prompt, answer)

    default = likely_answer(fields, prompt)
    return _ask("Field with the correct answer", check, given=given, default=default)


def _ask_grader(given: str | None, folder: Path) -> str:
    """Return a grader that needs no options."""

    def check(name: str) -> str:
        if name in WITH_OPTIONS:
            raise KingyoError(
                "grader",
                expected="a grader that needs no options",
                received=f"'{name}', which needs {WITH_OPTIONS[name]}",
                remedy="Choose another for now, and write this one into the file later.",
            )
        check_grader(name, (), folder)
        return name

    question = "Grader (exact, number, contains, or file.py:function)"
    return _ask(question, check, given=given, default="exact")


def _ask_language(given: str | None) -> str | None:
    from kingyo.tasks.language import require_language

    def check(code: str) -> str | None:
        if code:
            require_language(code)
        return code or None

    question = "Language that answers must be in (empty for any)"
    return _ask(question, check, given=given, default="")


def _ask_count(question: str, default: int) -> int:
    return _ask(question, _positive, default=str(default))


def _positive(text: str) -> int:
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise KingyoError(
            "number", expected="a whole number from 1", received=f"'{text}'", remedy="Write it in digits."
        )
    return number
