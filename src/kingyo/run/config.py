"""run.yaml as typed, strict data: what a person writes to say which models, which domain, how to search.

It reads and checks the file; it opens no model and runs nothing. Unknown keys are errors that suggest the
nearest, and paths are relative to the file that names them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from kingyo.engine.options import MOST_THREADS
from kingyo.errors import KingyoError
from kingyo.io.schema import Number, Real, parse_model
from kingyo.io.yaml import read_yaml
from kingyo.recipe import FARTHEST, MERGED, Dtype, Resize
from kingyo.tasks.spec import TaskSpec, load_task_spec
from kingyo.tasks.text import LONGEST

Scalar = Annotated[bool, Field(strict=True)] | Real
Space = Literal["parameters", "dataflow", "hybrid"]
Count = Annotated[int, Field(gt=0, strict=True)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
MOST_WORKERS = 1024
MOST_REPETITIONS = 64
OF_WEIGHTS = ("closeness", "few_sources")
OF_PATHS = ("few_hops",)
OF_RECIPES = (*OF_WEIGHTS, *OF_PATHS)
"""Objectives that are read off the recipe: no task may have the same name."""
BESIDE_TASKS: Mapping[Space, tuple[str, ...]] = {
    "parameters": OF_WEIGHTS,
    "dataflow": OF_PATHS,
    "hybrid": (),
}
"""Space -> those that its recipes have."""
PARAMETERS = "parameters"
"""What a run of both spaces calls its search of weights."""
WEIGHTS_ALONE = "weights alone"
"""What people are told of it."""
OF_HYBRIDS = ("method", "choose_sources", "groups", "parameters")
"""What may be said of the merges of a run of both spaces, beside dtype."""
FRANKENMERGE = "frankenmerge"
"""What a run of paths calls the one that nobody tuned: there no source may have the same name."""
TRAINED = "trained"
"""What a run calls its control that trains a LoRA."""
CHOICE_NORMALISE = "choice_normalise"
"""A fact: False in a run of a kingyo whose grader ``choice`` did not normalise by default."""
TAKEN = ("bred", "uniform", "random", "grid", TRAINED)
"""What a run calls its winner, its uniform merge and its controls: no source may have the same name."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Range(_Strict):
    """Bounds of a parameter that is searched; ``start`` is where the search begins (default: the middle)."""

    low: Real = Field(alias="from")
    high: Real = Field(alias="to")
    start: Real | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"from ({self.low:g}) must be below to ({self.high:g})")
        if math.isinf(self.high - self.low):
            raise ValueError(f"from ({self.low:g}) and to ({self.high:g}) must not be so far apart")
        if self.start is not None and not self.low <= self.start <= self.high:
            raise ValueError(f"start ({self.start:g}) must lie within {self.low:g}..{self.high:g}")
        return self


class Choose(_Strict):
    """How many of the sources may take part in a merge."""

    at_least: Count | None = None
    at_most: Count | None = None


class GenomeConfig(_Strict):
    """How a genome file of mergekit-evolve lays out its genes."""

    layer_granularity: Annotated[int, Field(strict=True)] = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False
    tokenizer_source: str | None = None
    random_init: bool = False


class MergeConfig(_Strict):
    """How candidates are merged, and which parameters are searched, at which granularity."""

    method: str | Annotated[list[str], Field(min_length=1)] | None = None
    choose_sources: Choose | bool = False
    groups: str | None = None
    parameters: dict[str, Range | Scalar] = Field(default_factory=dict[str, "Range | Scalar"])
    dtype: Dtype | None = None
    tokenizer_source: Annotated[str, Field(min_length=1)] | None = None
    tokenizer: dict[str, object] | None = None
    resize: Resize | None = None
    genome: GenomeConfig | None = None

    @model_validator(mode="after")
    def _one_tokenizer(self) -> MergeConfig:
        of_genome = None if self.genome is None else self.genome.tokenizer_source
        if sum(each is not None for each in (self.tokenizer_source, self.tokenizer, of_genome)) > 1:
            raise ValueError("one of tokenizer_source, tokenizer and genome.tokenizer_source")
        return self

    @model_validator(mode="after")
    def _laid_out_once(self) -> MergeConfig:
        others = {"groups", "parameters", "choose_sources"} & self.model_fields_set
        if self.genome is not None and (others or not isinstance(self.method, str)):
            raise ValueError("one method beside genome, and no groups, parameters or choose_sources")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are named; none where the preset says which."""
        if self.method is None:
            return ()
        return (self.method,) if isinstance(self.method, str) else tuple(self.method)


class DataflowConfig(_Strict):
    """Which paths through layers are searched, with ``space: dataflow`` or ``hybrid``."""

    frame: str | None = None
    repetitions: Annotated[Count, Field(le=MOST_REPETITIONS)] = 2
    order: Literal["depth", "source"] = "depth"
    scales: Literal["none", "layer", "matrix"] = "none"
    max_scale: Annotated[Real, Field(gt=1, le=FARTHEST)] = 1.25
    inclusion: Literal["binary", "threshold"] = "binary"
    max_hops: Count | None = None
    seeds: bool = True
    known: tuple[str, ...] = ()
    max_size: str | None = None


class SearchConfig(_Strict):
    """How one search goes. The preset fills in what is given neither here nor under merge."""

    preset: str | None = None
    strategy: str | None = None
    settings: dict[str, object] = Field(default_factory=dict[str, object])
    screen: dict[str, object] = Field(default_factory=dict[str, object])
    warm_start: bool = True
    mode: Literal["generations", "asynchronous"] = "generations"
    timeout: Annotated[Number, Field(gt=0, le=LONGEST)] = 3600.0


class FirstSearchConfig(SearchConfig):
    """How the first or only search goes, with what holds for all searches of a run."""

    reuse: bool = True


class HybridConfig(_Strict):
    """How weights and paths are searched, with ``space: hybrid``: in turn, or both at once."""

    joint: bool = False
    share: Annotated[Real, Field(gt=0, lt=1)] = 0.5
    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _says_of_its_way_alone(self) -> HybridConfig:
        if self.joint and (odd := sorted({"share", "search"} & self.model_fields_set)):
            raise ValueError(f"no {' and '.join(odd)} beside joint: true, by which there is one search")
        return self


class Budget(_Strict):
    """How much a search may spend; the first bound that is reached ends it."""

    candidates: Count | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Budget:
        if self.candidates is None and self.item_evaluations is None and self.minutes is None:
            raise ValueError("give at least one of candidates, item_evaluations, minutes")
        return self


class Controls(_Strict):
    """Searches of the same cost that the winner is compared with, and a LoRA trained for as long.

    All are off by default: each costs what the search does, and can be run on the finished run.
    """

    random: bool = False
    grid: bool = False
    trained: bool = False


Tasks = dict[Annotated[str, Field(pattern=NAME)], TaskSpec]


class TasksConfig(_Strict):
    """Nothing but the key ``tasks`` of a run.yaml, as it lies beside an exported model."""

    tasks: Annotated[Tasks, Field(min_length=1)]

    @field_validator("tasks")
    @classmethod
    def _named_by_key(cls, tasks: Tasks) -> Tasks:
        return _named_by_key(tasks)


def _finalists(run: Mapping[str, object]) -> int:
    """Return the default: 4, or 8 with objectives, whose front needs more points."""
    return 8 if run.get("objectives") else 4


class RunConfig(_Strict):
    """A whole run.yaml."""

    name: Annotated[str, Field(pattern=NAME)] = "run"
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    base: str | None = None
    sources: Annotated[dict[Annotated[str, Field(pattern=NAME)], str], Field(min_length=1)]
    kind: str | None = None
    allow_pickle: Annotated[bool, Field(strict=True)] = False
    task: TaskSpec | None = None
    tasks: Tasks = Field(default_factory=dict[str, TaskSpec])
    objectives: tuple[str, ...] = ()
    space: Space = "parameters"
    merge: MergeConfig = MergeConfig()
    dataflow: DataflowConfig = DataflowConfig()
    hybrid: HybridConfig = HybridConfig()
    search: FirstSearchConfig = FirstSearchConfig()
    budget: Budget
    controls: Controls = Controls()
    finalists: Count = Field(default_factory=_finalists)
    batch_size: Count = 128
    device: str = "cpu"
    threads: Annotated[Count, Field(le=MOST_THREADS)] | None = None
    runner: Literal["local", "processes", "ray"] = "local"
    workers: Annotated[Count, Field(le=MOST_WORKERS)] = 1
    timeout: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _with_a_runner_that_can(self) -> RunConfig:
        if self.runner == "local" and self.workers > 1:
            raise ValueError(
                f"runner: processes (or ray) beside workers: {self.workers}; local, the default, has one"
            )
        return self

    @field_validator("sources")
    @classmethod
    def _distinct_names(cls, sources: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for name, reference in sources.items():
            if name in TAKEN or (name == "base" and reference != info.data.get("base")):
                raise ValueError(f"another name than '{name}', by which a run calls something else")
        return sources

    @field_validator("tasks")
    @classmethod
    def _named_by_key(cls, tasks: Tasks) -> Tasks:
        return _named_by_key(tasks)

    @model_validator(mode="after")
    def _says_of_its_space_alone(self) -> RunConfig:
        if "hybrid" in self.model_fields_set and self.space != "hybrid":
            raise ValueError("space: hybrid beside hybrid")
        if self.space == "parameters":
            if "dataflow" in self.model_fields_set:
                raise ValueError("space: dataflow (or hybrid) beside dataflow; without it weights are merged")
            if set(self.objectives) & set(OF_PATHS):
                raise ValueError(f"space: dataflow beside the objective {' and '.join(OF_PATHS)}, of paths")
            return self
        of_merges = OF_HYBRIDS if self.space == "hybrid" else ()
        odd = sorted(self.merge.model_fields_set - {"dtype", *of_merges})
        if odd:
            only = ", ".join(("dtype", *of_merges))
            raise ValueError(
                f"nothing but {only} below merge beside space: {self.space}, not {', '.join(odd)}"
            )
        self._has_its_objectives()
        reserved = (FRANKENMERGE, *((MERGED, PARAMETERS) if self.space == "hybrid" else ()))
        for name in reserved:
            if name in self.sources:
                raise ValueError(f"another name than '{name}', by which a run calls something else")
        frame, frames = self.dataflow.frame, (*self.sources, *((MERGED,) if self.space == "hybrid" else ()))
        if frame is not None and frame not in frames:
            raise ValueError(f"one of {', '.join(frames)} as dataflow.frame, not '{frame}'")
        return self

    def _has_its_objectives(self) -> None:
        own = BESIDE_TASKS[self.space]
        odd = [name for name in self.objectives if name in OF_RECIPES and name not in own]
        if odd:
            raise ValueError(
                f"{' or '.join(('tasks', *own))} as objectives beside space: {self.space}, not "
                f"{', '.join(odd)}, which not all of its recipes have"
            )

    @model_validator(mode="after")
    def _has_a_task(self) -> RunConfig:
        if (self.task is None) == (not self.tasks):
            raise ValueError("either task, or tasks with at least one in it")
        for name in self.specs:
            if name in OF_RECIPES:
                raise ValueError(f"another name than '{name}' for a task: it is an objective")
        known = (*self.specs, *OF_RECIPES)
        for name in self.objectives:
            if name not in known:
                raise ValueError(f"objectives out of {', '.join(known)}, not '{name}'")
        if len(self.objectives) == 1 or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("two different objectives or more; without any, the mean of the tasks")
        return self

    @property
    def specs(self) -> dict[str, TaskSpec]:
        """The tasks by name: the only one, or several."""
        return dict(self.tasks) if self.task is None else {self.task.name: self.task}


def _named_by_key(tasks: Tasks) -> Tasks:
    return {name: spec.model_copy(update={"name": name}) for name, spec in tasks.items()}


def load_config(path: Path, data: Mapping[str, object] | None = None) -> RunConfig:
    """Read and check a run.yaml.

    Args:
        path: the file.
        data: its content, where it has been read.

    Raises:
        KingyoError: no such file, not YAML, an unknown key, a wrong value.
    """
    data = read_yaml(path) if data is None else data
    return config_of({"name": named_after(path), **data}, path.parent, str(path))


def config_of(data: Mapping[str, object], folder: Path, where: str = "config") -> RunConfig:
    """Check what a run.yaml says.

    Args:
        data: its content.
        folder: where paths of task files begin.
        where: its name in messages.

    Raises:
        KingyoError: an unknown key, a wrong value, or no such task file.
    """
    if "task" in data:
        data = {**data, "task": _task_from_file(data["task"], folder)}
    if "tasks" in data:
        data = {**data, "tasks": _tasks_from_files(data["tasks"], folder)}
    return parse_config(data, where)


def named_after(path: Path, otherwise: str = "run") -> str:
    """What a run is called that says no name: as its file, in the characters that names may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._") or otherwise


def load_tasks(path: Path) -> dict[str, TaskSpec]:
    """Read a file that holds nothing but ``tasks:``, as an exported model has it beside it.

    Raises:
        KingyoError: no such file, an unknown key, a wrong value.
    """
    data = read_yaml(path)
    data = {**data, "tasks": _tasks_from_files(data.get("tasks"), path.parent)}
    return dict(parse_model(TasksConfig, data, str(path)).tasks)


def _tasks_from_files(tasks: object, folder: Path) -> object:
    if not isinstance(tasks, dict):
        return tasks
    named = cast("dict[object, object]", tasks)
    return {str(name): _task_from_file(task, folder) for name, task in named.items()}


def _task_from_file(task: object, folder: Path) -> object:
    """What a task file says, where one is named: by its path, or as ``{file: PATH, weight: 2}``."""
    named: object = {"file": task} if isinstance(task, str) else task
    own = dict(cast("dict[str, object]", named)) if isinstance(named, dict) else {}
    if "file" not in own:
        return task
    file = own.pop("file")
    if not isinstance(file, str):
        raise KingyoError(
            "file of a task",
            expected="the path of a task file",
            received=repr(file)[:80],
            remedy="Write `file: my-task.yaml`; keys beside it replace those of the file.",
        )
    spec = load_task_spec(folder / file)
    return {**spec.model_dump(exclude_unset=True), "name": spec.name, **own}


def parse_config(data: Mapping[str, object], where: str) -> RunConfig:
    """Check the content of a run.yaml; ``where`` names it in messages."""
    return parse_model(RunConfig, data, where)
