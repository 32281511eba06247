"""What a user writes about a task: where its rows are, how to ask, how to grade. Inert; opens no data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from kingyo.documents import read_yaml
from kingyo.registry import whole_reference
from kingyo.strict import Number, Real, parse_model

Text = Annotated[str, Field(min_length=1)]
LONGEST = 86_400
"""Seconds that a grader may be given at most: a day."""
MOST_TOKENS = 1_000_000
TASK_NAME = r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$"
"""Of a task: files may be called by it."""
GraderSpec = str | dict[str, object]
"""A grader's name, or a mapping of names to options: all of them, or the first one's value alone."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sizes(_Strict):
    """How the items are split: counts (``200``) or shares of all (``0.25``), or by what a column says.

    ``similar`` is the similarity of n-grams from which items are near-duplicates, beside those that differ in
    form alone.
    """

    fit: int | float = 0.5
    validation: int | float = 0.25
    test: int | float = 0.25
    seed: int = 0
    column: Text | None = None
    similar: Annotated[Real, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Sizes:
        others = {"fit", "validation", "test", "seed"} & self.model_fields_set
        if self.column is not None and others:
            raise ValueError("either column, or sizes and seed")
        return self

    @field_validator("fit", "validation", "test", mode="before")
    @classmethod
    def _is_size(cls, value: object) -> object:
        count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not count and not (isinstance(value, float) and 0 < value < 1):
            raise ValueError("a count from 1 (200), or a share of all items between 0 and 1 (0.25)")
        return value


class DatasetSource(_Strict):
    """Rows from the Hub or a folder, read by the library ``datasets``."""

    dataset: Text
    subset: str | None = None
    split: Text = "train"


def _tag(value: object) -> str:
    return "DatasetSource" if isinstance(value, Mapping | DatasetSource) else "str"


Data = Annotated[
    Annotated[Text, Tag("str")] | Annotated[DatasetSource, Tag("DatasetSource")], Discriminator(_tag)
]


class TaskSpec(_Strict):
    """A task in the user's words.

    Attributes:
        name: unique within a run; the name of the file when it is read from one.
        kind: how it is scored: ``generate`` or ``choice``, a plug-in's name or ``file.py:Name``. By default
            ``choice`` when that is the grader, else ``generate``.
        data: a .jsonl or .csv file, or a mapping {dataset, subset, split}.
        prompt: template with ``{field}`` for a column of the row; ``{{`` and ``}}`` are literal braces,
            and so is any brace that holds no name.
        chat: whether the prompt is sent as a user's message through the model's chat template.
        answer: the column of the right answer; null when the graders need none.
        choices: the column of the choices, for ``choice``.
        grader: a name, a mapping {name: option}, or a list of these, which must all hold.
        grader_timeout: seconds that a grader may take on one answer; then the candidate has failed.
        stop: strings that end an answer.
        max_new_tokens: the most tokens of an answer.
        splits: sizes of fit, validation and test.
        weight: how much its mean score counts beside those of a run's other tasks.
    """

    name: Annotated[str, Field(pattern=TASK_NAME)] = "task"
    kind: Text | None = None
    data: Data
    prompt: Text = "{prompt}"
    chat: bool = False
    answer: Text | None = "answer"
    choices: Text | None = None
    grader: GraderSpec | list[GraderSpec]
    grader_timeout: Annotated[Number, Field(gt=0, le=LONGEST)] = 300.0
    stop: tuple[Text, ...] = ()
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS, strict=True)] = 64
    splits: Sizes = Sizes()
    weight: Annotated[Real, Field(gt=0)] = 1.0

    @field_validator("grader", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        specs = cast("list[object]", value if isinstance(value, list) else [value])
        for each in specs:
            if not each or not isinstance(each, str | dict):
                raise ValueError("a grader's name, a mapping {name: option}, or a list of these")
        return cast(object, value)

    @model_validator(mode="after")
    def _choices_belong_to_choice(self) -> TaskSpec:
        chosen = any(name == "choice" for name, _ in self.graders)
        if chosen and self.choices is None:
            raise ValueError("`choices:`, the column that holds the choices, for the grader `choice`")
        if not self.graders:
            raise ValueError("at least one grader")
        return self

    @property
    def graders(self) -> tuple[tuple[str, object], ...]:
        """Every grader with the option that the user gave it, None for none."""
        specs = self.grader if isinstance(self.grader, list) else [self.grader]
        pairs: list[tuple[str, object]] = []
        for each in specs:
            pairs.extend([(each, None)] if isinstance(each, str) else each.items())
        return tuple(pairs)


def parse_task_spec(values: Mapping[str, object], where: str = "task") -> TaskSpec:
    """Check a mapping of a YAML file.

    Args:
        values: what the user wrote.
        where: its file or key, for messages.

    Raises:
        KingyoError: an unknown key (the nearest is suggested), a missing one, a wrong value.
    """
    return parse_model(TaskSpec, values, where)


def load_task_spec(path: Path) -> TaskSpec:
    """Read a TASK.yaml; paths in it are relative to it and become absolute.

    Raises:
        KingyoError: the file is missing or wrong; the message says where.
    """
    spec = parse_task_spec(read_yaml(path), str(path))
    folder = path.resolve().parent
    changes: dict[str, object] = {"grader": _absolute_graders(spec.grader, folder)}
    if "name" not in spec.model_fields_set:
        changes["name"] = path.stem
    if isinstance(spec.data, str):
        changes["data"] = str(folder / spec.data)
    elif (folder / spec.data.dataset).exists():
        changes["data"] = spec.data.model_copy(update={"dataset": str(folder / spec.data.dataset)})
    if spec.kind is not None:
        changes["kind"] = whole_reference(spec.kind, folder)
    return spec.model_copy(update=changes)


def _absolute_graders(grader: GraderSpec | list[GraderSpec], folder: Path) -> GraderSpec | list[GraderSpec]:
    if isinstance(grader, list):
        return [_absolute_grader(each, folder) for each in grader]
    return _absolute_grader(grader, folder)


def _absolute_grader(grader: GraderSpec, folder: Path) -> GraderSpec:
    if isinstance(grader, str):
        return whole_reference(grader, folder)
    return {whole_reference(name, folder): option for name, option in grader.items()}
