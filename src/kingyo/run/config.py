"""run.yaml as strict data. Unknown keys are errors that suggest the nearest key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kingyo.engine.execute import MAX_THREADS
from kingyo.errors import KingyoError
from kingyo.io.schema import Number, Real, parse_model
from kingyo.recipe import FARTHEST, MERGED, Dtype, Resize
from kingyo.tasks.answer_objectives import ANSWER_OBJECTIVES, is_of_answers
from kingyo.tasks.kinds import MAX_TIMEOUT
from kingyo.tasks.spec import TaskSpec

Scalar = Annotated[bool, Field(strict=True)] | Real
Count = Annotated[int, Field(gt=0, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
MAX_REPETITIONS = 64


class StrictModel(BaseModel):
    """Immutable settings without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Range(StrictModel):
    """Bounds of a searched parameter; the search begins at ``start`` (default: the middle).

    A list of starts has one for each group of tensors.
    """

    low: Real = Field(alias="from")
    high: Real = Field(alias="to")
    start: Real | list[Real] | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"from ({self.low:g}) must be below to ({self.high:g})")
        if math.isinf(self.high - self.low):
            raise ValueError(f"from ({self.low:g}) and to ({self.high:g}) must not be so far apart")
        for start in self.start if isinstance(self.start, list) else [self.start]:
            if start is not None and not self.low <= start <= self.high:
                raise ValueError(f"start ({start:g}) must lie within {self.low:g}..{self.high:g}")
        return self


class Choose(StrictModel):
    """Bounds of the number of sources in a merge."""

    at_least: Count | None = None
    at_most: Count | None = None


class SourceMergeConfig(StrictModel):
    """The groups and parameters of one source, where they differ from those of all sources."""

    groups: str | None = None
    parameters: dict[str, Range | Scalar] = Field(default_factory=dict[str, "Range | Scalar"])


class MergeConfig(StrictModel):
    """Merge method of the candidates and its searched parameters."""

    method: str | Annotated[list[str], Field(min_length=1)] | None = None
    choose_sources: Choose | bool = False
    groups: str | None = None
    parameters: dict[str, Range | Scalar] = Field(default_factory=dict[str, "Range | Scalar"])
    sources: dict[str, SourceMergeConfig] = Field(default_factory=dict[str, SourceMergeConfig])
    dtype: Dtype | None = None
    frame: str | None = None
    parts: dict[str, str] = Field(default_factory=dict[str, str])
    tokenizer_source: Annotated[str, Field(min_length=1)] | None = None
    tokenizer: dict[str, object] | None = None
    resize: Resize | None = None

    @model_validator(mode="after")
    def _check_tokenizer(self) -> MergeConfig:
        if self.tokenizer_source is not None and self.tokenizer is not None:
            raise ValueError("one of tokenizer_source and tokenizer")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """The named methods; empty if the preset decides."""
        if self.method is None:
            return ()
        return (self.method,) if isinstance(self.method, str) else tuple(self.method)


class DataflowConfig(StrictModel):
    """Searched layer paths, with ``space: dataflow`` or ``hybrid``."""

    frame: str | None = None
    repetitions: Annotated[Count, Field(le=MAX_REPETITIONS)] = 2
    order: Literal["depth", "source"] = "depth"
    scales: Literal["none", "layer", "matrix"] = "none"
    max_scale: Annotated[Real, Field(gt=1, le=FARTHEST)] = 1.25
    inclusion: Literal["binary", "threshold"] = "binary"
    max_hops: Count | None = None
    seeds: bool = True
    known: tuple[str, ...] = ()
    max_size: str | None = None


class SearchConfig(StrictModel):
    """Settings of one search. The preset gives defaults for this section and ``merge``."""

    preset: str | None = None
    strategy: str | None = None
    settings: dict[str, object] = Field(default_factory=dict[str, object])
    screen: dict[str, object] = Field(default_factory=dict[str, object])
    warm_start: bool = True
    mode: Literal["generations", "asynchronous"] = "generations"
    timeout: Annotated[Number, Field(gt=0, le=MAX_TIMEOUT)] = 3600.0


class FirstSearchConfig(SearchConfig):
    """Settings of the first or only search, and those of all searches of the run."""

    reuse: bool = True


class HybridConfig(StrictModel):
    """How to search weights and paths with ``space: hybrid``: in turn or jointly."""

    joint: bool = False
    share: Annotated[Real, Field(gt=0, lt=1)] = 0.5
    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _check_joint(self) -> HybridConfig:
        if self.joint and (unused := sorted({"share", "search"} & self.model_fields_set)):
            raise ValueError(f"no {' and '.join(unused)} beside joint: true, which has one search")
        return self


class Budget(StrictModel):
    """Limits of a search; it ends at the first one that it reaches."""

    candidates: Count | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_bounded(self) -> Budget:
        if self.candidates is None and self.item_evaluations is None and self.minutes is None:
            raise ValueError("at least one of candidates, item_evaluations and minutes")
        return self


class Controls(StrictModel):
    """Searches of the same cost to compare the winner with, and a LoRA trained for the same time.

    Each costs as much as the search, and can also be run on the finished run. ``trained`` may be a share of
    that time; None lets kingyo decide (``default_controls``). ``random_sources`` names models that one of
    them merges in place of the sources.
    """

    random: bool = False
    grid: bool = False
    trained: bool | Annotated[Real, Field(gt=0, le=1)] | None = None
    random_sources: dict[Name, str] = Field(default_factory=dict[str, str])


class TuneConfig(StrictModel):
    """A LoRA trained on the bred model, after the search.

    ``keep`` is a file with items of abilities to keep, of which at most ``limit`` points may be lost.
    """

    keep: str | None = None
    limit: Annotated[Real, Field(ge=0, le=100)] = 2.0

    @model_validator(mode="after")
    def _check_limit(self) -> TuneConfig:
        if self.keep is None and "limit" in self.model_fields_set:
            raise ValueError("keep beside limit: a file with the items that it is about")
        return self


def _switched(value: object) -> object:
    return {} if value is True else None if value is False else value


def _named_by_key(tasks: dict[str, TaskSpec]) -> dict[str, TaskSpec]:
    return {name: spec.model_copy(update={"name": name}) for name, spec in tasks.items()}


NamedTasks = Annotated[dict[Name, TaskSpec], AfterValidator(_named_by_key)]
"""Tasks by name; the key is the name of the task."""


Space = Literal["parameters", "dataflow", "hybrid"]
MAX_WORKERS = 1024
WEIGHT_OBJECTIVES = ("closeness", "few_sources")
PATH_OBJECTIVES = ("few_hops",)
RECIPE_OBJECTIVES = (*WEIGHT_OBJECTIVES, *PATH_OBJECTIVES)
"""Objectives that are computed from the recipe; no task may have one of these names."""
SPACE_OBJECTIVES: Mapping[Space, tuple[str, ...]] = {
    "parameters": WEIGHT_OBJECTIVES,
    "dataflow": PATH_OBJECTIVES,
    "hybrid": (),
}
"""Space -> the objectives that all its recipes have."""
WEIGHT_SEARCH = "parameters"
"""Name of the weight search in a run with ``space: hybrid``."""
WEIGHT_SEARCH_LABEL = "weights alone"
"""The same in output."""
HYBRID_MERGE_KEYS = ("method", "choose_sources", "groups", "parameters", "sources")
"""Keys of ``merge``, besides ``dtype``, with ``space: hybrid``."""
FRANKENMERGE = "frankenmerge"
"""Name of the untuned path that path searches are compared with."""
TRAINED = "trained"
"""Name of the control that trains a LoRA."""
TUNED, TUNED_PARENT = "tuned", "tuned_parent"
"""Names of the training on the bred model, and of the same training on the best parent."""
TRAININGS = (TRAINED, TUNED, TUNED_PARENT)
"""All searches whose candidates are trained on fit; also the facts with their plans and results."""
KEPT = "kept"
"""Fact: scores on the items of ``tune.keep``."""
RANDOM_SOURCES = "random_sources"
"""Name of the control that merges sources drawn at random."""
RESERVED_NAMES = ("bred", "uniform", "random", "grid", *TRAININGS, RANDOM_SOURCES)
"""Names that no source may have: of winner, uniform merge and controls."""


def _default_finalists(run: Mapping[str, object]) -> int:
    """Return 4, or 8 with objectives, whose front needs more points."""
    return 8 if run.get("objectives") else 4


class RunConfig(StrictModel):
    """The content of a run.yaml."""

    name: Name = "run"
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    base: str | None = None
    sources: Annotated[dict[Name, str], Field(min_length=1)]
    kind: str | None = None
    allow_pickle: Annotated[bool, Field(strict=True)] = False
    task: TaskSpec | None = None
    tasks: NamedTasks = Field(default_factory=dict[str, TaskSpec])
    objectives: tuple[str, ...] = ()
    space: Space = "parameters"
    merge: MergeConfig = MergeConfig()
    dataflow: DataflowConfig = DataflowConfig()
    hybrid: HybridConfig = HybridConfig()
    search: FirstSearchConfig = FirstSearchConfig()
    learn: Annotated[bool, Field(strict=True)] | None = None
    budget: Budget
    controls: Controls = Controls()
    tune: Annotated[TuneConfig | None, BeforeValidator(_switched)] = None
    finalists: Count = Field(default_factory=_default_finalists)
    batch_size: Count = 128
    device: str = "cpu"
    threads: Annotated[Count, Field(le=MAX_THREADS)] | None = None
    runner: Literal["local", "processes", "ray"] = "local"
    workers: Annotated[Count, Field(le=MAX_WORKERS)] = 1
    timeout: Annotated[Real, Field(gt=0)] | None = None

    @property
    def answer_objectives(self) -> tuple[str, ...]:
        """The objectives that are computed from answers."""
        others = (*self.specs, *RECIPE_OBJECTIVES)
        return tuple(name for name in self.objectives if name not in others)

    @property
    def specs(self) -> dict[str, TaskSpec]:
        """The tasks by name."""
        return dict(self.tasks) if self.task is None else {self.task.name: self.task}

    @model_validator(mode="after")
    def _check_runner(self) -> RunConfig:
        if self.runner == "local" and self.workers > 1:
            raise ValueError(
                f"runner: processes (or ray) beside workers: {self.workers}; local, the default, has one"
            )
        return self

    @field_validator("sources")
    @classmethod
    def _check_source_names(cls, sources: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for name, reference in sources.items():
            if name == "base" and reference == info.data.get("base"):
                continue
            _require_unreserved(name, (*RESERVED_NAMES, "base"))
        return sources

    @model_validator(mode="after")
    def _check_space(self) -> RunConfig:
        if "hybrid" in self.model_fields_set and self.space != "hybrid":
            raise ValueError("space: hybrid beside hybrid")
        if self.space == "parameters":
            if "dataflow" in self.model_fields_set:
                raise ValueError("space: dataflow (or hybrid) beside dataflow; without it weights are merged")
            if set(self.objectives) & set(PATH_OBJECTIVES):
                raise ValueError(
                    f"space: dataflow beside the objective {' and '.join(PATH_OBJECTIVES)}, of paths"
                )
            return self
        self._check_merge_keys()
        self._check_recipe_objectives()
        self._check_path_names()
        return self

    def _check_merge_keys(self) -> None:
        allowed = ("dtype", *(HYBRID_MERGE_KEYS if self.space == "hybrid" else ()))
        unused = sorted(self.merge.model_fields_set - set(allowed))
        if unused:
            raise KingyoError(
                "merge",
                expected=f"no other keys than {', '.join(allowed)} with space: {self.space}",
                received=", ".join(unused),
                remedy="Delete these keys.",
            )

    def _check_path_names(self) -> None:
        merged = (MERGED,) if self.space == "hybrid" else ()
        reserved = (FRANKENMERGE, *merged, *((WEIGHT_SEARCH,) if merged else ()))
        for name in self.sources:
            _require_unreserved(name, reserved)
        frame, frames = self.dataflow.frame, (*self.sources, *merged)
        if frame is not None and frame not in frames:
            raise ValueError(f"one of {', '.join(frames)} as dataflow.frame, not '{frame}'")

    def _check_recipe_objectives(self) -> None:
        own = SPACE_OBJECTIVES[self.space]
        others = [name for name in self.objectives if name in RECIPE_OBJECTIVES and name not in own]
        if others:
            raise ValueError(
                f"{' or '.join(('tasks', *own))} as objectives beside space: {self.space}, not "
                f"{', '.join(others)}, which not all of its recipes have"
            )

    @model_validator(mode="after")
    def _check_tasks(self) -> RunConfig:
        if (self.task is None) == (not self.tasks):
            raise ValueError("either task, or tasks with at least one in it")
        for name in self.specs:
            if name in RECIPE_OBJECTIVES:
                raise ValueError(f"another name than '{name}' for a task: it is an objective")
        known = (*self.specs, *RECIPE_OBJECTIVES)
        for name in self.objectives:
            if name not in known and not is_of_answers(name):
                known = (*known, *ANSWER_OBJECTIVES.names(), "file.py:function")
                raise ValueError(f"objectives out of {', '.join(known)}, not '{name}'")
            if name in self.specs and is_of_answers(name):
                raise ValueError(f"another name than '{name}' for a task: it is an objective")
        if len(self.objectives) == 1 or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("two different objectives or more; without any, the mean of the tasks")
        return self


def _require_unreserved(name: str, reserved: tuple[str, ...]) -> None:
    if name in reserved:
        raise ValueError(f"another name than '{name}', which every run uses itself")


def parse_config(data: Mapping[str, object], where: str) -> RunConfig:
    """Check the content of a run.yaml; ``where`` names the file in messages."""
    return parse_model(RunConfig, data, where)
