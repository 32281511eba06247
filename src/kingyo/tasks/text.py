"""The options of tasks whose questions and answers are text, and how a row becomes such a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, cast

from pydantic import BeforeValidator, Field

from kingyo.errors import KingyoError
from kingyo.strict import Number
from kingyo.tasks.rows import Row, stringify
from kingyo.tasks.template import Template
from kingyo.types import Item

Text = Annotated[str, Field(min_length=1)]
LONGEST = 86_400
"""Seconds that a grader may be given at most: a day."""
MOST_TOKENS = 1_000_000
GraderSpec = str | dict[str, object]
"""A grader's name, or a mapping of names to options: all of them, or the first one's value alone."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_template = lru_cache(maxsize=16)(Template)


def graders_in(grader: object) -> tuple[tuple[str, object], ...]:
    """Return the graders that a user names, each with its option, or None; anything else is ignored."""
    specs = cast("list[object]", grader if isinstance(grader, list) else [grader])
    pairs: list[tuple[str, object]] = []
    for each in specs:
        if isinstance(each, str):
            pairs.append((each, None))
        elif isinstance(each, dict):
            pairs += [(str(name), option) for name, option in cast("dict[object, object]", each).items()]
    return tuple(pairs)


def _named(value: object) -> object:
    specs = cast("list[object]", value if isinstance(value, list) else [value])
    for each in specs:
        if not each or not isinstance(each, str | dict):
            raise ValueError("a grader's name, a mapping {name: option}, or a list of these")
    return cast(object, value)


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """The options of ``generate`` and ``choice``, and of kinds that declare none of their own.

    Attributes:
        prompt: template with ``{field}`` for a column of the row; ``{{`` and ``}}`` are literal braces,
            and so is any brace that holds no name.
        chat: whether the prompt is sent as a user's message through the model's chat template.
        answer: the column of the right answer; null when the graders need none.
        choices: the column of the choices, for ``choice``.
        grader: a name, a mapping {name: option}, or a list of these, which must all hold.
        grader_timeout: seconds that a grader may take on one answer; then the candidate has failed.
        stop: strings that end an answer.
        max_new_tokens: the most tokens of an answer.
    """

    prompt: Text = "{prompt}"
    chat: bool = False
    answer: Text | None = "answer"
    choices: Text | None = None
    grader: Annotated[GraderSpec | list[GraderSpec], BeforeValidator(_named)]
    grader_timeout: Annotated[Number, Field(gt=0, le=LONGEST)] = 300.0
    stop: tuple[Text, ...] = ()
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS, strict=True)] = 64

    def __post_init__(self) -> None:
        if self.choices is None and any(name == "choice" for name, _ in self.graders):
            raise ValueError("`choices:`, the column that holds the choices, for the grader `choice`")
        if not self.graders:
            raise ValueError("at least one grader")

    @property
    def graders(self) -> tuple[tuple[str, object], ...]:
        """Every grader with the option that the user gave it, None for none."""
        return graders_in(self.grader)


def read_text_item(row: Row, settings: TextSettings) -> Item:
    """Make a row an item: its prompt filled in, with its answer and its choices.

    Raises:
        KingyoError: a field is missing or empty, or the answer is none of the choices.
    """
    fields = row.texts()
    template = _template(settings.prompt)
    prompt = template.fill(fields, row.where)
    if not template.uses(fields):
        doubled = next((name for name in fields if f"{{{{{name}}}}}" in settings.prompt), None)
        hint = "" if doubled is None else f"Write {{{doubled}}}: {{{{ and }}}} are literal braces. "
        raise KingyoError(
            "prompt",
            expected="a {field} of the row",
            received="a template without any",
            remedy=f"{hint}Fields: {', '.join(fields)}.",
        )
    if not prompt.strip():
        raise KingyoError(
            row.where,
            expected="a prompt",
            received="an empty one",
            remedy="Fill in the fields that the prompt uses, or delete this row.",
        )
    choices = _choices(row, settings.choices)
    answer = _answer(row, settings.answer, choices)
    return Item(id="", prompt=prompt, answer=answer, choices=choices, fields=fields)


def _answer(row: Row, column: str | None, choices: Sequence[str]) -> str:
    if column is None:
        return ""
    value = row.cell(column, "answer")
    answer = stringify(value).strip() if not choices else _chosen(value, choices, row.where)
    if not answer:
        raise KingyoError(
            f"{row.where}: {column}",
            expected="an answer",
            received="an empty one",
            remedy="Fill it in, or delete this row.",
        )
    return answer


def _choices(row: Row, column: str | None) -> tuple[str, ...]:
    """The choices of a row: a list, or text with ``|`` between them."""
    if column is None:
        return ()
    value = row.cell(column, "choices")
    if isinstance(value, Mapping) and "text" in value:  # {text: [...], label: [...]}, as ARC has it
        value = cast("Mapping[str, object]", value)["text"]
    if isinstance(value, str):
        value = value.split("|")
    if not isinstance(value, list | tuple):
        value = []
    choices = tuple(stringify(each).strip() for each in cast("Sequence[object]", value))
    if len(choices) < 2 or len(set(choices)) < len(choices) or "" in choices:
        raise KingyoError(
            f"{row.where}: {column}",
            expected="at least two different choices, a list or text with | between",
            received=repr(row.columns[column]),
            remedy="Correct the choices, or delete this row.",
        )
    return choices


def _chosen(value: object, choices: Sequence[str], where: str) -> str:
    """The right choice, named by its text, else by its number from 0, else by its letter."""
    answer = stringify(value).strip()
    if answer in choices:
        return answer
    index = int(answer) if answer.isascii() and answer.isdigit() else -1
    if len(answer) == 1 and answer in _LETTERS:
        index = _LETTERS.index(answer)
    if not 0 <= index < len(choices):
        raise KingyoError(
            where,
            expected="an answer that is a choice, its number from 0 or its letter",
            received=f"{answer!r}, with the choices {list(choices)}",
            remedy="Correct the answer, or delete this row.",
        )
    return choices[index]
