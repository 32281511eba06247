"""Kinds of tasks: their registry, the base of the built-in ones, and the options of those with graders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, cast

from pydantic import BeforeValidator, Field

from kingyo.core.io.schema import Number, Real
from kingyo.core.types import Item, Split, Task
from kingyo.errors import KingyoError, suggest, unknown_name_error
from kingyo.registry import Registry
from kingyo.tasks.rows import Row, stringify, unfold

MAX_TIMEOUT = 86_400
"""Maximum of time limits in seconds: one day."""
Text = Annotated[str, Field(min_length=1)]
Splits = Mapping[Split, Sequence[Item]]
ReadItem = Callable[[Row, Any], object]
"""Turns a row into an item, given the settings of its kind."""
FIX = "Fix the kind; kingyo.testing.tasks has tests of the contract."


class TaskKind(Protocol):
    """Builds a task; usually the class of the task.

    It may have a frozen dataclass ``Settings`` with its keys of the YAML, and a static method
    ``read_item(row, settings)`` that returns an Item without an id. The defaults are ``TextSettings`` and
    ``read_text_item``, as for ``generate``.
    """

    def __call__(self, name: str, settings: Any, splits: Splits, folder: Path, /) -> Task:
        """Build a task from its name, settings, items, and the base folder of relative paths."""
        ...


TASK_KINDS: Registry[TaskKind] = Registry("task kind", "kingyo.tasks", "kingyo.tasks")
"""Kinds of tasks by name. Plug-ins use the entry point group ``kingyo.tasks``."""


class SplitTask:
    """The base of the built-in kinds: a task's name, and its items by split."""

    def __init__(self, name: str, splits: Splits) -> None:
        self._name = name
        self._splits = {split: tuple(items) for split, items in splits.items()}

    @property
    def name(self) -> str:
        return self._name

    def items(self, split: Split) -> Sequence[Item]:
        if split not in self._splits:
            raise unknown_name_error("split", split, self._splits)
        return self._splits[split]

    def all_items(self) -> list[Item]:
        """Return the items of all splits."""
        return [item for items in self._splits.values() for item in items]


GraderSpec = str | dict[str, object]
"""A grader's name, or a mapping from names to options: a mapping of options, or the first option's value."""


def graders_in(grader: object) -> tuple[tuple[str, object], ...]:
    """Return (name, option) of each grader in the YAML; the option may be None. Ignore invalid entries."""
    specs = cast("list[object]", grader if isinstance(grader, list) else [grader])
    pairs: list[tuple[str, object]] = []
    for each in specs:
        if isinstance(each, str):
            pairs.append((each, None))
        elif isinstance(each, dict):
            pairs += [(str(name), option) for name, option in cast("dict[object, object]", each).items()]
    return tuple(pairs)


def _check_graders(value: object) -> object:
    specs = cast("list[object]", value if isinstance(value, list) else [value])
    for each in specs:
        if not each or not isinstance(each, str | dict):
            raise ValueError("a grader's name, a mapping {name: option}, or a list of these")
    return cast(object, value)


@dataclass(frozen=True, kw_only=True)
class GradedSettings:
    """Options of a task with graders.

    Attributes:
        grader: what counts as right: a name, a mapping {name: option}, or a list of these.
        weights: weights of the graders, whose mean is the score. Default: their scores are multiplied.
        grader_timeout: seconds that a grader may take for one answer before the candidate fails.
    """

    grader: Annotated[GraderSpec | list[GraderSpec], BeforeValidator(_check_graders)]
    weights: tuple[Annotated[Real, Field(gt=0)], ...] | None = None
    grader_timeout: Annotated[Number, Field(gt=0, le=MAX_TIMEOUT)] = 300.0

    def __post_init__(self) -> None:
        n = len(self.graders)
        if not n:
            raise ValueError("at least one grader")
        if self.weights is not None and len(self.weights) != n:
            raise ValueError(f"as many weights as graders: {n}")

    @property
    def graders(self) -> tuple[tuple[str, object], ...]:
        """(name, option) of each grader; a grader without an option has None."""
        return graders_in(self.grader)

    def unfolded(self, row: Row) -> Iterator[Row]:
        """Yield the rows of the items that a row of the data holds."""
        yield row

    def of_stored_items(self) -> Self:
        """Return the settings for rows that hold stored items: one item each."""
        return self


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
