"""The sections of run.yaml as strict data."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kingyo.io.schema import Number, Real
from kingyo.recipe import FARTHEST, Dtype, Resize
from kingyo.tasks.spec import TaskSpec
from kingyo.tasks.text import MAX_TIMEOUT

Scalar = Annotated[bool, Field(strict=True)] | Real
Count = Annotated[int, Field(gt=0, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
MAX_REPETITIONS = 64


class StrictModel(BaseModel):
    """Immutable settings without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Range(StrictModel):
    """Bounds of a searched parameter; the search begins at ``start`` (default: the middle)."""

    low: Real = Field(alias="from")
    high: Real = Field(alias="to")
    start: Real | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"from ({self.low:g}) must be below to ({self.high:g})")
        if math.isinf(self.high - self.low):
            raise ValueError(f"from ({self.low:g}) and to ({self.high:g}) must not be so far apart")
        if self.start is not None and not self.low <= self.start <= self.high:
            raise ValueError(f"start ({self.start:g}) must lie within {self.low:g}..{self.high:g}")
        return self


class Choose(StrictModel):
    """Bounds of the number of sources in a merge."""

    at_least: Count | None = None
    at_most: Count | None = None


class GenomeConfig(StrictModel):
    """Layout of the genes in a genome file of mergekit-evolve."""

    layer_granularity: Annotated[int, Field(strict=True)] = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False
    tokenizer_source: str | None = None
    random_init: bool = False


class MergeConfig(StrictModel):
    """Merge method of the candidates and its searched parameters."""

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
    def _check_tokenizer(self) -> MergeConfig:
        of_genome = None if self.genome is None else self.genome.tokenizer_source
        tokenizers = (self.tokenizer_source, self.tokenizer, of_genome)
        if sum(tokenizer is not None for tokenizer in tokenizers) > 1:
            raise ValueError("one of tokenizer_source, tokenizer and genome.tokenizer_source")
        return self

    @model_validator(mode="after")
    def _check_genome(self) -> MergeConfig:
        others = {"groups", "parameters", "choose_sources"} & self.model_fields_set
        if self.genome is not None and (others or not isinstance(self.method, str)):
            raise ValueError("one method beside genome, and no groups, parameters or choose_sources")
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

    Each costs as much as the search, and can also be run on the finished run.
    """

    random: bool = False
    grid: bool = False
    trained: bool = False


def _named_by_key(tasks: dict[str, TaskSpec]) -> dict[str, TaskSpec]:
    return {name: spec.model_copy(update={"name": name}) for name, spec in tasks.items()}


NamedTasks = Annotated[dict[Name, TaskSpec], AfterValidator(_named_by_key)]
"""Tasks by name; the key is the name of the task."""
