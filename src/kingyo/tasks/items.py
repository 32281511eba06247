"""From rows to items: the prompt is filled in, the answer found, duplicates removed. Knows no grader."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError, suggest
from kingyo.tasks.rows import Row, read_rows
from kingyo.tasks.spec import TaskSpec
from kingyo.tasks.template import Template
from kingyo.types import Item

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class LoadedItems:
    """The items of a file in its order, and how many rows were dropped because they asked the same."""

    items: tuple[Item, ...]
    duplicates: int


def load_items(spec: TaskSpec, folder: Path) -> LoadedItems:
    """Read, check and de-duplicate the items of a task.

    Two rows ask the same when their prompts (and choices) are equal after Unicode NFKC and with white space
    run together; the first is kept.

    Args:
        spec: the task.
        folder: where relative paths start.

    Raises:
        KingyoError: a broken line, a missing field, two answers to one prompt, or no rows at all.
    """
    template = Template(spec.prompt)
    items: dict[str, Item] = {}
    places: dict[str, str] = {}
    rows = 0
    for row in read_rows(spec.data, folder):
        rows += 1
        item = _item(row, spec, template)
        known = items.setdefault(item.id, item)
        place = places.setdefault(item.id, row.where)
        if known.answer != item.answer:
            raise KingyoError(
                row.where,
                expected=f"one answer to a prompt: {known.answer!r} at {place}",
                received=f"{item.answer!r} to the same prompt",
                remedy="Delete the wrong one of the two rows, or let their prompts differ.",
            )
    if not items:
        source = spec.data if isinstance(spec.data, str) else spec.data.dataset
        raise KingyoError(
            f"data: {source}",
            expected="at least one row",
            received="an empty file",
            remedy="Write rows into the file, or name another.",
        )
    return LoadedItems(items=tuple(items.values()), duplicates=rows - len(items))


def question(prompt: str, choices: Sequence[str]) -> str:
    """What two items have in common that ask the same: the prompt after NFKC, white space run together."""
    normalised = " ".join(unicodedata.normalize("NFKC", prompt).split())
    return "\0".join([normalised, *choices])


def stringify(value: object) -> str:
    """Text of a cell: 3.0 is "3", true is "true", lists and mappings are JSON, null is empty."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        number = Decimal(repr(value)) + 0  # no negative zero
        whole = number == number.to_integral_value()
        return format(number.to_integral_value() if whole else number, "f")
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _item(row: Row, spec: TaskSpec, template: Template) -> Item:
    fields = {name: stringify(value) for name, value in row.columns.items()}
    prompt = template.fill(fields, row.where)
    _require_text(prompt, fields, row.where)
    if not template.uses(fields):
        doubled = next((name for name in fields if f"{{{{{name}}}}}" in spec.prompt), None)
        hint = "" if doubled is None else f"Write {{{doubled}}}: {{{{ and }}}} are literal braces. "
        raise KingyoError(
            "prompt",
            expected="a {field} of the row",
            received="a template without any",
            remedy=hint + _list(fields),
        )
    if not prompt.strip():
        raise KingyoError(
            row.where,
            expected="a prompt",
            received="an empty one",
            remedy="Fill in the fields that the prompt uses, or delete this row.",
        )
    choices = _choices(row, spec)
    answer = _answer(row, spec, choices)
    identity = hashlib.sha256(question(prompt, choices).encode("utf-8")).hexdigest()[:16]
    return Item(id=identity, prompt=prompt, answer=answer, choices=choices, fields=fields)


def _require_text(prompt: str, fields: Mapping[str, str], where: str) -> None:
    r"""Refuse half characters: JSON can write ``\ud83d`` alone, but no file and no database can hold it."""
    for name, text in [*fields.items(), ("prompt", prompt)]:
        try:
            f"{name}{text}".encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}, half a character"
            raise KingyoError(
                f"{where}: {name!a}",
                expected="text",
                received=half,
                remedy="Write the whole character, or take it out.",
            ) from error


def _answer(row: Row, spec: TaskSpec, choices: Sequence[str]) -> str:
    if spec.answer is None:
        return ""
    value = _column(row, spec.answer, "answer")
    answer = stringify(value).strip() if not choices else _chosen(value, choices, row.where)
    if not answer:
        raise KingyoError(
            f"{row.where}: {spec.answer}",
            expected="an answer",
            received="an empty one",
            remedy="Fill it in, or delete this row.",
        )
    return answer


def _choices(row: Row, spec: TaskSpec) -> tuple[str, ...]:
    """The choices of a row: a list, or text with ``|`` between them."""
    if spec.choices is None:
        return ()
    value = _column(row, spec.choices, "choices")
    if isinstance(value, Mapping) and "text" in value:  # {text: [...], label: [...]}, as ARC has it
        value = cast("Mapping[str, object]", value)["text"]
    if isinstance(value, str):
        value = value.split("|")
    if not isinstance(value, list | tuple):
        value = []
    choices = tuple(stringify(each).strip() for each in cast("Sequence[object]", value))
    if len(choices) < 2 or len(set(choices)) < len(choices) or "" in choices:
        raise KingyoError(
            f"{row.where}: {spec.choices}",
            expected="at least two different choices, a list or text with | between",
            received=repr(row.columns[spec.choices]),
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


def _column(row: Row, name: str, key: str) -> object:
    if row.columns.get(name) is None:
        raise KingyoError(
            f"{row.where}: {key}",
            expected=f"a field '{name}' in the row",
            received="null" if name in row.columns else "none",
            remedy=_near(name, row.columns),
        )
    return row.columns[name]


def _near(name: str, columns: Mapping[str, object]) -> str:
    return "Fill it in, or delete this row." if name in columns else suggest(name, columns)


def _list(fields: Mapping[str, str]) -> str:
    return f"Fields: {', '.join(fields)}."
