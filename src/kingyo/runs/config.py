"""run.yaml as strict data. Unknown keys are errors that suggest the nearest key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kingyo.core.io.schema import Count, Number, Real, StrictModel, parse_model
from kingyo.core.io.units import joined
from kingyo.errors import KingyoError
from kingyo.merging.engine.execute import MAX_THREADS
from kingyo.merging.recipe import FARTHEST, MERGED, Dtype, Resize
from kingyo.search.evolution.types import Limits
from kingyo.tasks.answer_objectives import ANSWER_OBJECTIVES, is_of_answers
from kingyo.tasks.kinds import MAX_TIMEOUT
from kingyo.tasks.spec import TaskSpec

Scalar = Annotated[bool, Field(strict=True)] | Real
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
MAX_REPETITIONS = 64


class Range(StrictModel):
    """Bounds of a searched parameter.

    Attributes:
        low: lower bound. A weight below 0 subtracts a source.
        high: upper bound. A weight above 1 exaggerates a source.
        start: where the search begins: a number, or a list with one for each group, from input to output.
            Default: the middle.
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
    """Bounds of the number of sources in a merge.

    Attributes:
        at_least: fewest sources in a merge; a method that needs more is an error. Default: what each method
            needs.
        at_most: most sources in a merge. Default: all.
    """

    at_least: Count | None = None
    at_most: Count | None = None


class SourceMergeConfig(StrictModel):
    """The groups and parameters of one source, where they differ from those of all sources."""

    groups: str | None = None
    parameters: dict[str, Range | Scalar] = Field(default_factory=dict[str, "Range | Scalar"])


class MergeConfig(StrictModel):
    """Merge method of the candidates and its searched parameters.

    Attributes:
        method: a merge method, your own as ``file.py:NAME``, or a list to choose from. Default: the
            preset's, else ``task_arithmetic``.
        choose_sources: the search also chooses which sources take part.
        groups: which tensors share a value. Default: the preset's, else ``one``.
        parameters: of each parameter a fixed value, or ``{from, to, start}`` to search; at least one must be
            searched. Default: the method's.
        sources: groups and parameters of single sources. Default: those of all.
        dtype: of all merged weights: ``float32``, ``float16`` or ``bfloat16``. Default: the models' own.
        frame: source (or ``base``) that gives everything that is not merged. Default: the first model that
            sees, if any.
        parts: which parts are merged: ``{language: merge, vision: merge}``. Default: with a frame the
            language part, else everything.
        tokenizer_source: for models with different vocabularies: ``base``, ``union`` or a model. Default:
            vocabularies must be equal.
        tokenizer: the same in detail: ``source``, ``tokens``, ``pad_to_multiple_of``.
        resize: for vocabularies that differ only in size: ``pad-vocab``, ``truncate`` or ``base``. Default:
            an error.
    """

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
        if self.method is None:
            return ()
        return (self.method,) if isinstance(self.method, str) else tuple(self.method)


class DataflowConfig(StrictModel):
    """Searched layer paths, with ``space: dataflow`` or ``hybrid``.

    Attributes:
        frame: source that provides embeddings, final norm, head and tokenizer. Default: the first that sees,
            else the first; with ``hybrid`` ``merged``.
        repetitions: how often a path may go through the list of all layers, 1 to 64.
        order: ``depth``: the first layer of each source, then the second of each. ``source``: one source
            after the other, as published.
        scales: factors of the stream: ``none``, one per ``layer``, or a ``matrix`` with one for each pair of
            layers.
        max_scale: scales lie between 1 / max_scale and max_scale, at most 1024; the product of a path must
            stay between 1/1024 and 1024.
        inclusion: ``binary``, or ``threshold`` for strategies of floats: a gene from -1 to 1, and the layer
            is included if it is positive.
        max_hops: most layers in a path; longer ones are thinned out evenly, with ``threshold`` by their
            genes.
        seeds: start with the path of each source, the frankenmerge, and the frame without one of up to 8
            blocks of layers.
    """

    frame: str | None = None
    repetitions: Annotated[Count, Field(le=MAX_REPETITIONS)] = 2
    order: Literal["depth", "source"] = "depth"
    scales: Literal["none", "layer", "matrix"] = "none"
    max_scale: Annotated[Real, Field(gt=1, le=FARTHEST)] = 1.25
    inclusion: Literal["binary", "threshold"] = "binary"
    max_hops: Count | None = None
    seeds: bool = True


class SearchConfig(StrictModel):
    """Settings of one search. The preset gives defaults for this section and ``merge``.

    Attributes:
        preset: a named starting point. Default: ``fast``; with ``space: dataflow`` ``paths``.
        strategy: a strategy, or your own as ``file.py:Name``. Default: the preset's.
        settings: options of the strategy, as in ``kingyo list strategies NAME``. Default: the preset's, with
            its strategy.
        screen: which items of fit a candidate is scored on. Default: the preset's, with its strategy.
        warm_start: tell the strategy the scores of the parents and the uniform merge.
        mode: ``generations``, or ``asynchronous``: each result is told at once, and a free worker gets the
            next candidate.
        timeout: seconds for each call of your own strategy; then the run stops.
    """

    preset: str | None = None
    strategy: str | None = None
    settings: dict[str, object] = Field(default_factory=dict[str, object])
    screen: dict[str, object] = Field(default_factory=dict[str, object])
    warm_start: bool = True
    mode: Literal["generations", "asynchronous"] = "generations"
    timeout: Annotated[Number, Field(gt=0, le=MAX_TIMEOUT)] = 3600.0


class FirstSearchConfig(SearchConfig):
    """Settings of the first or only search, and those of all searches of the run.

    Attributes:
        reuse: copy the scores of a recipe that was already scored, at no cost.
    """

    reuse: bool = True


class HybridConfig(StrictModel):
    """How to search weights and paths with ``space: hybrid``: in turn or jointly.

    Attributes:
        joint: search weights and paths together; then without ``share`` and ``search``.
        share: share of the budget for the search of weights, between 0 and 1.
        search: keys of ``search`` without ``reuse``, for the search of paths. Default: the preset ``paths``;
            with ``sakana-hybrid`` ``sakana-dfs``.
    """

    joint: bool = False
    share: Annotated[Real, Field(gt=0, lt=1)] = 0.5
    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _check_joint(self) -> HybridConfig:
        if self.joint and (unused := sorted({"share", "search"} & self.model_fields_set)):
            raise ValueError(f"no {' and '.join(unused)} beside joint: true, which has one search")
        return self


class Budget(Limits):
    """Limits of which at least one is given."""

    @model_validator(mode="after")
    def _check_bounded(self) -> Budget:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"at least one of {joined(list(Budget.model_fields))}")
        return self


class Controls(StrictModel):
    """Searches of the same cost to compare the winner with, and a LoRA trained for the same time.

    Each can also be run on the finished run.

    Attributes:
        random: a random search of the same space (of one weight per source, where the main search learns).
        grid: a grid of one weight per source, 5 points each, fewer (down to 2) with many sources.
        trained: a LoRA trained on fit: ``true`` for the time that the main search took, ``0.5`` for half of
            it (``pip install -e '.[lora]'``). Default: ``0.25``, if models have at most a billion parameters
            and the graders accept the reference answers of half of the fit items; else ``false``.
        random_sources: the main search with other models, as ``name: model``; ``true`` draws as many as a
            scout chose. Default: none.
    """

    random: bool = False
    grid: bool = False
    trained: bool | Annotated[Real, Field(gt=0, le=1)] | None = None
    random_sources: dict[Name, str] = Field(default_factory=dict[str, str])


class TuneConfig(StrictModel):
    """A LoRA trained on the bred model, after the search.

    Attributes:
        keep: a task file, or a .jsonl or .csv file of items for the run's task: abilities to keep.
        limit: most points that a LoRA may lose on them; only with ``keep``.
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
RANDOM_SOURCES = "random_sources"
"""Name of the control that merges sources drawn at random."""
RESERVED_NAMES = ("bred", "uniform", "random", "grid", *TRAININGS, RANDOM_SOURCES)
"""Names that no source may have: of winner, uniform merge and controls."""


class RunConfig(StrictModel):
    """The content of a run.yaml.

    Attributes:
        name: the run folder is ``runs/NAME`` unless ``--run`` names one. Default: the file's name.
        seed: of the search and of random methods. ``--seed`` replaces it.
        base: the common ancestor: a folder, or ``org/name`` or ``org/name@revision`` on the Hub. ``linear``,
            ``karcher``, ``nuslerp``, ``multislerp`` and ``passthrough`` need none.
        sources: the models to merge, as ``name: model``, or ``{scout: WHERE}``, which chooses them.
        kind: kind of all models, or your own as ``file.py:NAME``. Default: from ``config.json``.
        allow_pickle: read weights that exist only as pickles.
        task: the domain: a mapping, a file with one, or ``{file: PATH, ...}`` with keys that replace the
            file's. Default: **required**, or ``tasks``.
        tasks: several tasks, as ``name: task``. Default: none.
        objectives: what to maximise together: names of tasks and other objectives. Default: one number, the
            mean of the tasks.
        space: ``parameters`` (how weights are merged), ``dataflow`` (which layers tokens pass through), or
            ``hybrid`` (both).
        merge: how candidates are merged. Default: the preset's.
        dataflow: the paths to search, with ``space: dataflow`` or ``hybrid``. Default: see there.
        hybrid: how both searches are combined, with ``space: hybrid``. Default: see there.
        search: how to search. Default: the preset ``fast``, or ``paths``.
        learn: learn weights by gradient within the main search. Default: if the run can, and names neither
            strategy nor preset.
        budget: when the search ends.
        controls: what to compare with. Default: see there.
        tune: train a LoRA on the bred model after the search: ``true``, or a mapping. Default: ``false``.
        finalists: candidates that are scored on validation. Default: ``4``; with ``objectives`` ``8``.
        batch_size: items that the model answers at once.
        device: as PyTorch names them: ``cpu``, ``cuda``, ``cuda:0``, ``mps``.
        threads: CPU threads, 1 to 1024. Default: 1 for models below 10 million parameters, else all cores,
            shared by the workers.
        runner: where candidates are evaluated: ``local``, ``processes`` or ``ray``.
        workers: candidates that are evaluated at the same time.
        timeout: seconds that a candidate may take for its items before it fails. Default: none; ``3600``
            with a kind of task of your own.
    """

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
    finalists: Count = Field(default_factory=lambda run: 8 if run.get("objectives") else 4)
    batch_size: Count = 128
    device: str = "cpu"
    threads: Annotated[Count, Field(le=MAX_THREADS)] | None = None
    runner: Literal["local", "processes", "ray"] = "local"
    workers: Annotated[Count, Field(le=MAX_WORKERS)] = 1
    timeout: Annotated[Real, Field(gt=0)] | None = None

    @property
    def answer_objectives(self) -> tuple[str, ...]:
        others = (*self.specs, *RECIPE_OBJECTIVES)
        return tuple(name for name in self.objectives if name not in others)

    @property
    def specs(self) -> dict[str, TaskSpec]:
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
        allowed = ("dtype", *(HYBRID_MERGE_KEYS if self.space == "hybrid" else ()))
        unused = sorted(self.merge.model_fields_set - set(allowed))
        if unused:
            expected = f"no other keys than {', '.join(allowed)} with space: {self.space}"
            raise KingyoError("merge", expected, ", ".join(unused), "Delete these keys.")
        own = SPACE_OBJECTIVES[self.space]
        others = [name for name in self.objectives if name in RECIPE_OBJECTIVES and name not in own]
        if others:
            raise ValueError(
                f"{' or '.join(('tasks', *own))} as objectives beside space: {self.space}, not "
                f"{', '.join(others)}, which not all of its recipes have"
            )
        merged = (MERGED,) if self.space == "hybrid" else ()
        reserved = (FRANKENMERGE, *merged, *((WEIGHT_SEARCH,) if merged else ()))
        for name in self.sources:
            _require_unreserved(name, reserved)
        frame, frames = self.dataflow.frame, (*self.sources, *merged)
        if frame is not None and frame not in frames:
            raise ValueError(f"one of {', '.join(frames)} as dataflow.frame, not '{frame}'")
        return self

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
