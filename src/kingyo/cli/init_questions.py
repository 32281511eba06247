"""The questions of ``kingyo init``, each asked until its answer can work. Writes nothing.

What flags gave is not asked for, but checked alike: a wrong one is told, and asked for, before the next
question. Light imports only, so that the first question comes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from kingyo.cli.init_yaml import SearchAnswers
from kingyo.cli.terminal import echo, visible
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.types import Item

T = TypeVar("T")

ANSWER = "answer"
FEWEST_ROWS = 4
CANDIDATES = 200
MAX_NEW_TOKENS = 64
UNLIKELY = ("id", "index", "split")  # fields that are hardly the prompt or the right answer
WITH_OPTIONS = {"choice": "`choices:`", "language": "a code", "regex": "a pattern"}
"""Graders that need more than their name; `kingyo list graders` says all."""


@dataclass(frozen=True, kw_only=True)
class InitFlags:
    """What was said by flags about the task and the search; None is not given."""

    prompt: str | None
    answer: str | None
    grader: str | None
    language: str | None
    candidates: int | None
    max_new_tokens: int | None


def by_default(flags: InitFlags, task: str, folder: Path) -> SearchAnswers:
    """Take the defaults for what was not given, and ask for the grader alone.

    Args:
        flags: what was given.
        task: the file of prompts and answers. Prompt and answer are its likeliest fields unless given.
        folder: where a grader's own file is looked for.
    """
    fields = _fields(task) if flags.prompt is None or flags.answer is None else []
    prompt = flags.prompt or _likely_prompt(fields)
    answer = flags.answer or _likely_answer(fields, prompt)
    if (flags.prompt or "{prompt}", flags.answer or ANSWER) != (prompt, answer):
        echo(f"Read from {task}: prompt {prompt}, answer {answer}. --prompt and --answer name others.")
    return SearchAnswers(
        task=task,
        prompt=prompt,
        answer=answer,
        grader=flags.grader or _grader(None, folder),
        language=flags.language,
        candidates=flags.candidates or CANDIDATES,
        max_new_tokens=flags.max_new_tokens or MAX_NEW_TOKENS,
    )


def ask_task(flags: InitFlags, task: str | None, folder: Path) -> SearchAnswers:
    """Ask for all that was not given, beginning with the task file, whose fields are then known.

    Args:
        flags: what was given.
        task: the file of prompts and answers, if it was given.
        folder: where a grader's own file is looked for.
    """
    task, fields = _task_file(task)
    prompt = _prompt(flags.prompt, task, fields)
    answer, grader = _answer_and_grader(flags, task, prompt, fields, folder)
    return SearchAnswers(
        task=task,
        prompt=prompt,
        answer=answer,
        grader=grader,
        language=_language(flags.language),
        candidates=flags.candidates or _count("How many merges to try", CANDIDATES),
        max_new_tokens=flags.max_new_tokens or _count("Longest answer in tokens", MAX_NEW_TOKENS),
    )


def ask_base() -> str | None:
    """Ask for the common ancestor; None when there is none."""
    question = "Base model (folder or Hub name; empty if there is none)"
    return _until(question, lambda text: text or None, default="")


def ask_sources(check: Callable[[Sequence[str]], object]) -> list[str]:
    """Ask for two models or more.

    Args:
        check: raises KingyoError when the models so far cannot stand together.
    """
    found: list[str] = []

    def fits(model: str) -> str:
        if model:
            check([*found, model])
        return model

    while True:
        enough = len(found) > 1
        question = (
            f"Model {len(found) + 1} to merge (folder or Hub name{'; empty to go on' if enough else ''})"
        )
        model = _until(question, fits, default="" if enough else None)
        if not model:
            return found
        found.append(model)


def _until(
    question: str, check: Callable[[str], T], *, given: str | None = None, default: str | None = None
) -> T:
    """Ask until the check takes the answer; return what it makes of it. A flag's value is tried first."""
    while True:
        text = given
        if text is None:
            asked = f"{question} [{visible(default)}]" if default else question
            text = str(typer.prompt(asked, default=default, show_default=False))
        try:
            return check(text)
        except KingyoError as error:
            echo(f"Error: {error}", err=True)
            given = None


def _task_file(given: str | None) -> tuple[str, list[str]]:
    """The file, and the fields of its first row, which are shown."""
    question = "Task file (.jsonl or .csv with prompts and answers)"
    task, fields = _until(question, lambda text: (text, _fields(text)), given=given)
    echo(f"Fields of its first row: {', '.join(fields)}")
    return task, fields


def _fields(task: str) -> list[str]:
    """Read the whole file, so that a line that is broken is named now; return the fields of the first row."""
    from kingyo.tasks.rows import read_rows

    rows = list(read_rows(task, Path()))
    if not rows or not rows[0].columns:
        raise KingyoError(
            task,
            expected="at least one row, with fields",
            received="a file without",
            remedy="Write rows into the file, or name another.",
        )
    if len(rows) < FEWEST_ROWS:
        raise KingyoError(
            task,
            expected=f"at least {FEWEST_ROWS} rows, since three splits are made of them",
            received=str(len(rows)),
            remedy="Write more rows into the file, or name another.",
        )
    return list(rows[0].columns)


def _prompt(given: str | None, task: str, fields: Sequence[str]) -> str:
    def check(text: str) -> str:
        from kingyo.tasks import Sizes, make_splits

        prompt = text.replace("\\n", "\n")
        with _naming(fields):
            make_splits(_items(task, prompt, None), Sizes())
        return prompt

    default = _likely_prompt(fields)
    question = "Prompt template ({field} is filled in; {{ and }} are literal braces)"
    return _until(question, check, given=given, default=default)


def _answer_and_grader(
    flags: InitFlags, task: str, prompt: str, fields: Sequence[str], folder: Path
) -> tuple[str, str]:
    """The field with the answers, and a grader that can grade them: else both are asked for again."""
    given, grader = flags.answer, flags.grader
    while True:
        answer, items = _answer(given, task, prompt, fields)
        name = _grader(grader, folder)
        try:
            _check_answers(name, items, folder)
        except KingyoError as error:
            echo(f"Error: {error}", err=True)
            given = grader = None
        else:
            return answer, name


def _answer(given: str | None, task: str, prompt: str, fields: Sequence[str]) -> tuple[str, Sequence[Item]]:
    """The field, and the items that the file then has."""

    def check(answer: str) -> tuple[str, Sequence[Item]]:
        with _naming(fields):
            return answer, _items(task, prompt, answer)

    default = _likely_answer(fields, prompt)
    return _until("Field with the right answer", check, given=given, default=default)


def _likely_prompt(fields: Sequence[str]) -> str:
    likely = [each for each in fields if each.lower() not in UNLIKELY] or fields
    return f"{{{'prompt' if 'prompt' in fields else likely[0]}}}"


def _likely_answer(fields: Sequence[str], prompt: str) -> str:
    likely = [each for each in fields if each.lower() not in UNLIKELY and f"{{{each}}}" not in prompt]
    return ANSWER if ANSWER in fields else (likely or fields)[0]


@contextmanager
def _naming(fields: Sequence[str]) -> Generator[None]:
    """Add the names of all fields to the remedy of an error."""
    try:
        yield
    except KingyoError as error:
        named = f"Fields: {', '.join(fields)}."
        if named in error.remedy:
            raise
        raise KingyoError(
            error.argument,
            expected=error.expected,
            received=error.received,
            remedy=f"{error.remedy} {named}",
        ) from error


def _items(task: str, prompt: str, answer: str | None) -> Sequence[Item]:
    from kingyo.tasks import load_items, parse_task_spec

    spec = parse_task_spec({"data": task, "prompt": prompt, "answer": answer, "grader": "exact"})
    return load_items(spec, Path()).items


def _check_answers(grader: str, items: Sequence[Item], folder: Path) -> None:
    from kingyo.tasks.grader import build_verdict

    build_verdict([(grader, None)], folder).check(items)


def _grader(given: str | None, folder: Path) -> str:
    """A grader that needs no options."""

    def check(name: str) -> str:
        if name in WITH_OPTIONS:
            raise KingyoError(
                "grader",
                expected="one that needs no options",
                received=f"'{name}', which needs {WITH_OPTIONS[name]}",
                remedy="Take another for now, and write this one into the file afterwards.",
            )
        _check_answers(name, (), folder)
        return name

    question = "Grader (exact, number, contains, or file.py:function)"
    return _until(question, check, given=given, default="exact")


def _language(given: str | None) -> str | None:
    from kingyo.tasks.language import require_language

    def check(code: str) -> str | None:
        if code:
            require_language(code)
        return code or None

    question = "Language that answers must be in (empty for any)"
    return _until(question, check, given=given, default="")


def _count(question: str, default: int) -> int:
    return _until(question, _positive, default=str(default))


def _positive(text: str) -> int:
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise KingyoError(
            "number", expected="a whole number from 1", received=f"'{text}'", remedy="Write it in digits."
        )
    return number
