"""The options of text tasks, prompt templates, and reading a row as a text item."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, cast

from pydantic import Field

from kingyo.core.types import Item
from kingyo.errors import KingyoError, suggest
from kingyo.tasks.kinds import GradedSettings, Text
from kingyo.tasks.rows import Row, stringify, unfold

MAX_TOKENS = 1_000_000

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BRACES = re.compile(r"\{\{|\}\}|\{[^{}\n]*\}")


@dataclass(frozen=True, kw_only=True)
class TextSettings(GradedSettings):
    """The options of ``generate`` and ``choice``, and of kinds without ``Settings``; see ``GradedSettings``.

    Attributes:
        prompt: template with ``{column}`` for each column of the row that it uses; ``{{`` and ``}}`` are
            literal braces.
        chat: send the prompt as a user message through the model's chat template.
        answer: column of the right answer; ``null`` if the graders need none.
        choices: column of the choices, for the grader ``choice``.
        questions: column with a list of mappings; each becomes an item, with its keys as columns. Default:
            one item per row.
        stop: strings that end an answer. Default: where the model ends it.
        max_new_tokens: most tokens in an answer. A longer one is marked as cut.
    """

    prompt: Text = "{prompt}"
    chat: bool = False
    answer: Text | None = "answer"
    choices: Text | None = None
    questions: Text | None = None
    stop: tuple[Text, ...] = ()
    max_new_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS, strict=True)] = 64

    def __post_init__(self) -> None:
        if self.choices is None and any(name == "choice" for name, _ in self.graders):
            raise ValueError("`choices:`, the column of the choices, for the grader `choice`")
        super().__post_init__()

    def unfolded(self, row: Row) -> Iterator[Row]:
        """Yield the row, or a row for each of its questions."""
        yield from (row,) if self.questions is None else unfold(row, self.questions)

    def of_stored_items(self) -> TextSettings:
        """Return the settings for rows that hold stored items: one question each."""
        return replace(self, questions=None)


def fill_template(template: str, fields: Mapping[str, str], where: str) -> str:
    """Return a prompt: ``{field}`` is replaced by a column of the row.

    Doubled braces are literal, and so are braces around anything but a column or an identifier:
    ``{"json": 1}`` needs no doubling, ``\\frac{{a}}{{b}}`` does.
    """
    used: list[str] = []

    def piece(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        name = match[0][1:-1]
        if name in fields:
            used.append(name)
            return fields[name]
        if name.isidentifier():
            remedy = f"{suggest(name, fields)} Write {{{{ and }}}} for literal braces."
            raise KingyoError(f"{where}: prompt", f"a field '{name}' in the row", "no such field", remedy)
        return match[0]

    prompt = _BRACES.sub(piece, template)
    if not used:
        remedy = f"Write one in single braces. Fields: {', '.join(fields)}."
        raise KingyoError("prompt", "a {field} of the row", "a template without fields", remedy)
    return prompt


def read_text_item(row: Row, settings: TextSettings) -> Item:
    """Return a row as an item: its filled-in prompt, its answer and its choices."""
    fields = row.texts()
    prompt = fill_template(settings.prompt, fields, row.where)
    if not prompt.strip():
        raise _empty(row.where, "a prompt")
    choices = _choices(row, settings.choices)
    answer = _answer(row, settings.answer, choices)
    return Item(id="", prompt=prompt, answer=answer, choices=choices, fields=fields)


def _empty(argument: str, expected: str) -> KingyoError:
    remedy = "Fill in this field, or delete the row."
    return KingyoError(argument, expected, "an empty text", remedy)


def _answer(row: Row, column: str | None, choices: Sequence[str]) -> str:
    if column is None:
        return ""
    value = row.cell(column, "answer")
    answer = stringify(value).strip() if not choices else _chosen(value, choices, row.where)
    if not answer:
        raise _empty(f"{row.where}: {column}", "an answer")
    return answer


def _choices(row: Row, column: str | None) -> tuple[str, ...]:
    if column is None:
        return ()
    value = row.cell(column, "choices")
    if isinstance(value, Mapping) and "text" in value:  # {text: [...], label: [...]}, as in ARC
        value = cast("Mapping[str, object]", value)["text"]
    if isinstance(value, str):
        value = value.split("|")
    if not isinstance(value, list | tuple):
        value = []
    choices = tuple(stringify(each).strip() for each in cast("Sequence[object]", value))
    if len(choices) < 2 or len(set(choices)) < len(choices) or "" in choices:
        expected = "at least two different choices, as a list or as text separated by |"
        remedy = "Correct the choices, or delete this row."
        raise KingyoError(f"{row.where}: {column}", expected, repr(row.cell(column, "choices")), remedy)
    return choices


def _chosen(value: object, choices: Sequence[str], where: str) -> str:
    answer = stringify(value).strip()
    if answer in choices:
        return answer
    index = int(answer) if answer.isascii() and answer.isdigit() else -1
    if len(answer) == 1 and answer in _LETTERS:
        index = _LETTERS.index(answer)
    if not 0 <= index < len(choices):
        expected = "a choice, its index from 0 or its letter as the answer"
        remedy = "Correct the answer, or delete this row."
        raise KingyoError(where, expected, f"{answer!r}, with the choices {list(choices)}", remedy)
    return choices[index]
