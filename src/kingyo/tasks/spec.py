"""The YAML of a task: its data, its splits, and the keys of its kind. Parsing does not open the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kingyo.core.io.model_names import absolute_name, is_local, local_path
from kingyo.core.io.schema import Real, parse_model, parse_settings, validate_settings, validate_together
from kingyo.core.io.yaml import read_yaml
from kingyo.errors import KingyoError
from kingyo.registry import is_in_file, whole_reference
from kingyo.tasks.graders.grader import GRADERS, Place, moved, option_values
from kingyo.tasks.kinds import FIX, TASK_KINDS, Text, TextSettings, graders_in
from kingyo.tasks.rows import DatasetSource

T = TypeVar("T")
TASK_NAME = r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$"
"""Pattern of a task's name, which may become a file name."""


class Sizes(BaseModel):
    """Sizes of the splits: counts (``200``), shares of all items (``0.25``), or a column with the split.

    Attributes:
        fit: what the search sees.
        validation: selects the winner among the finalists, together with ``fit``.
        test: read once, at the end.
        seed: draws which items go into which split; independent of the run's seed.
        column: instead of sizes and ``seed``: the column that says ``fit``, ``validation`` or ``test`` in
            every row.
        share_images: allow items that show the same image in different splits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: int | float = 0.5
    validation: int | float = 0.25
    test: int | float = 0.25
    seed: int = 0
    column: Text | None = None
    share_images: Annotated[bool, Field(strict=True)] = False

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


class TaskSpec(BaseModel):
    """The YAML of a task: keys of all kinds, and those of its own kind as extra fields.

    Attributes:
        name: unique within a run. Default: ``task``; in its own file, the file's name.
        kind: ``generate`` (the model writes an answer), ``choice`` (the likeliest choice), ``classify`` (the
            likeliest class of an image), ``vqa`` (an answer about images), ``draw`` (an image of a prompt),
            or your own as ``file.py:Name``. Default: ``choice`` with that grader, else ``generate``.
        data: a .jsonl or .csv file, or a data set.
        splits: sizes of the splits. Default: half, a quarter, a quarter.
        weight: weight of its mean score among several tasks.
        measure: measure over all answers that replaces the mean score, such as ``macro_f1``. Default: the
            mean score.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Annotated[str, Field(pattern=TASK_NAME)] = "task"
    kind: Text | None = None
    data: Text | DatasetSource
    splits: Sizes = Sizes()
    weight: Annotated[Real, Field(gt=0)] = 1.0
    measure: Text | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _with_options(cls, values: object, parse: Callable[[object], TaskSpec]) -> TaskSpec:
        """Check the options of a registered kind too; those of a user's kind need its file."""
        return validate_together(lambda: parse(values), lambda: cls._check_options(values))

    @classmethod
    def _check_options(cls, values: object) -> None:
        if not isinstance(values, Mapping):
            return
        given = cast("Mapping[str, object]", values)
        kind = _kind_name(given.get("kind"), given.get("grader"))
        if TASK_KINDS.is_registered(kind):
            options = {key: value for key, value in given.items() if key not in cls.model_fields}
            validate_settings(settings_class(kind, Path()), options, beside=cls.model_fields)

    @property
    def options(self) -> dict[str, object]:
        return dict(self.model_extra or {})

    @property
    def kind_name(self) -> str:
        return _kind_name(self.kind, self.options.get("grader"))

    @property
    def graders(self) -> tuple[tuple[str, object], ...]:
        return graders_in(self.options.get("grader"))


def _kind_name(kind: object, grader: object) -> str:
    if isinstance(kind, str) and kind:
        return kind
    return "choice" if any(name == "choice" for name, _ in graders_in(grader)) else "generate"


def settings_class(kind: str, folder: Path) -> type[object]:
    settings = cast(object, getattr(TASK_KINDS.get(kind, folder), "Settings", TextSettings))
    if not isinstance(settings, type) or not is_dataclass(settings):
        raise KingyoError(f"kind {kind}", "a dataclass as Settings", f"{settings!r:.80}", FIX)
    return cast("type[object]", settings)


def settings_of(spec: TaskSpec, folder: Path) -> object:
    """Return the options of a task as an instance of its kind's ``Settings``."""
    kind = settings_class(spec.kind_name, folder)
    return parse_settings(kind, spec.options, f"task {spec.name}", beside=TaskSpec.model_fields)


def measure_name(spec: TaskSpec) -> str | None:
    """Return the full name of a task's set measure, such as −KID (efficientnet-lite0) for ``kid``."""
    if spec.measure is None or is_in_file(spec.kind_name):
        return spec.measure
    full_name = getattr(settings_of(spec, Path()), "measure_name", None)
    return spec.measure if full_name is None else full_name(spec.measure)


def parse_task_spec(values: Mapping[str, object], where: str = "task") -> TaskSpec:
    return parse_model(TaskSpec, values, where)


def load_task_spec(path: Path) -> TaskSpec:
    """Read a TASK.yaml and make its paths, which are relative to the file, absolute."""
    values = read_yaml(path)
    if "sources" in values and not {"task", "tasks"}.isdisjoint(values):
        remedy = "Name the file of a task, or copy what is below its key `task` or `tasks` into one."
        raise KingyoError(str(path), "a task file", "a run.yaml, with models", remedy)
    spec = parse_task_spec(values, str(path))
    folder = path.resolve().parent
    changes = move_paths(spec, folder, lambda path: absolute_name(path, folder), absolute=True)
    if "name" not in spec.model_fields_set:
        changes["name"] = path.stem
    if isinstance(spec.data, str):
        changes["data"] = str(folder / spec.data)
    elif (folder / spec.data.dataset).exists():
        changes["data"] = spec.data.model_copy(update={"dataset": str(folder / spec.data.dataset)})
    if spec.kind is not None:
        changes["kind"] = whole_reference(spec.kind, folder)
    return spec.model_copy(update=changes)


def move_paths(spec: TaskSpec, folder: Path, place: Place, *, absolute: bool = False) -> dict[str, object]:
    """Return the options of a task with other paths, see ``moved``; also those of its graders.

    ``place`` is called with every path that exists; ``absolute`` makes names of graders in files absolute.
    """

    def placed(path: str) -> str:
        return place(path) if is_local(path, folder) else path

    def graders(value: object) -> object:
        if isinstance(value, list):
            return [graders(each) for each in cast("list[object]", value)]
        if isinstance(value, Mapping):
            named = cast("Mapping[str, object]", value)
            return {graders(name): moved_option(name, option) for name, option in named.items()}
        return whole_reference(value, folder) if absolute and isinstance(value, str) else value

    def moved_option(name: str, option: object) -> object:
        kind = _or_none(lambda: GRADERS.get(name, folder))
        values = moved(kind, option_values(kind, option), placed)
        return values if isinstance(option, Mapping) else next(iter(values.values()), None)

    options = moved(_or_none(lambda: settings_class(spec.kind_name, folder)), spec.options, placed)
    return options | ({"grader": graders(options["grader"])} if "grader" in options else {})


def _or_none(find: Callable[[], T]) -> T | None:
    try:
        return find()
    except KingyoError:
        return None


def paths_in(spec: TaskSpec, folder: Path) -> list[Path]:
    """Return the existing files and folders that the options of a task and its graders name."""
    named: list[str] = []

    def note(path: str) -> str:
        named.append(path)
        return path

    move_paths(spec, folder, note)
    return [local_path(path, folder) for path in dict.fromkeys(named)]


def libraries_of(spec: TaskSpec, folder: Path) -> list[str]:
    """Return the distributions that the graders and the options of a task say that scores depend on."""
    kinds = [_or_none(lambda name=name: GRADERS.get(name, folder)) for name, _ in spec.graders]
    options = _or_none(lambda: settings_of(spec, folder))
    parts: list[object] = [*kinds, options, *(getattr(options, name) for name in spec.options if options)]
    return [name for part in parts for name in cast("Sequence[str]", getattr(part, "libraries", ()))]
