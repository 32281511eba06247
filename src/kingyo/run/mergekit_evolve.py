"""The genome YAML of mergekit-evolve, read as a run: unchanged, but for its tasks, which are kingyo's.

It reads and checks the file and finds the task; it opens no model. What its keys mean is mergekit's; where
kingyo differs is told as notes, and in ``docs/run-yaml.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kingyo.errors import KingyoError
from kingyo.io.schema import Real, parse_model
from kingyo.io.yaml import read_yaml
from kingyo.recipe.reading import parse_reference
from kingyo.run.config import RESERVED_NAMES, RunConfig, parse_config
from kingyo.run.config_file import name_from_path
from kingyo.run.config_sections import GenomeConfig
from kingyo.space import GenomeLayout
from kingyo.tasks import TaskSpec, load_task_spec

MAX_FEVALS = 100
SIGMA = 1 / 6
"""Both as mergekit-evolve has them; sigma is a difference of genes, not a share of an axis."""
LM_EVAL_KEYS = ("limit", "num_fewshot", "shuffle", "apply_chat_template", "fewshot_as_multiturn")
DTYPE = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class GenomeRun:
    """A genome file as a run, and sentences about what has no effect in it."""

    config: RunConfig
    notes: tuple[str, ...] = ()


class _StrictGenome(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Definition(_StrictGenome):
    models: Annotated[list[str], Field(min_length=1)]
    merge_method: str
    base_model: str | None = None
    tokenizer_source: str | None = None
    layer_granularity: Annotated[int, Field(strict=True)] = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] | None = None
    smooth: bool = False

    @field_validator("models", mode="before")
    @classmethod
    def _named(cls, models: object) -> object:
        if not isinstance(models, list):
            return models
        return [parse_reference(model, "models") or model for model in cast("list[object]", models)]

    @field_validator("base_model", mode="before")
    @classmethod
    def _one_named(cls, model: object) -> str | None:
        return parse_reference(model, "base_model")


class _Task(_StrictGenome):
    name: Annotated[str, Field(min_length=1)]
    weight: Annotated[Real, Field(gt=0)] = 1.0
    metric: str = "acc,none"

    @model_validator(mode="before")
    @classmethod
    def _is_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class _GenomeFile(_StrictGenome):
    genome: _Definition
    tasks: Annotated[list[_Task], Field(min_length=1)]
    limit: int | None = None
    num_fewshot: int | None = None
    shuffle: bool = False
    random_init: bool = False
    apply_chat_template: bool = True
    fewshot_as_multiturn: bool = True


def is_genome_file(data: Mapping[str, object]) -> bool:
    """Whether a mapping is that of mergekit-evolve, and not a run.yaml."""
    return "genome" in data and "sources" not in data


def load_genome_file(
    path: Path, *, max_fevals: int | None = None, task_search_path: Sequence[Path] = ()
) -> GenomeRun:
    """Read a genome file as a run.

    Args:
        path: the file; relative models begin where it is.
        max_fevals: how many candidates are tried; 100 when None.
        task_search_path: folders with task files, beside that of the file.

    Raises:
        KingyoError: a key or value that is not sound, or a task that kingyo does not find.
    """
    found = parse_model(_GenomeFile, read_yaml(path), str(path))
    specs = _specs(found.tasks, path, task_search_path)
    genome = _genome(found)
    low, high = GenomeLayout(**genome.model_dump()).bounds(found.genome.merge_method)
    data: dict[str, object] = {
        "name": name_from_path(path, "genome"),
        "sources": _names(found.genome),
        **_tasks(specs),
        "merge": {
            "method": found.genome.merge_method,
            "dtype": DTYPE,
            "genome": genome.model_dump(exclude_unset=True),
        },
        "search": {"preset": "mergekit-evolve", "settings": {"sigma": SIGMA / (high - low)}},
        "budget": {"candidates": max_fevals or MAX_FEVALS},
    }
    if found.genome.base_model is not None:
        data["base"] = found.genome.base_model
    return GenomeRun(config=parse_config(data, str(path)), notes=tuple(_notes(found)))


def _genome(found: _GenomeFile) -> GenomeConfig:
    given = found.genome.model_dump(exclude={"models", "merge_method", "base_model"}, exclude_unset=True)
    given["filters"] = tuple(given.get("filters") or ())
    return GenomeConfig.model_validate(given | {"random_init": found.random_init})


def _specs(tasks: Sequence[_Task], path: Path, search: Sequence[Path]) -> list[TaskSpec]:
    """The tasks, each found and weighted: a weight of the genome file goes before one of the task file."""
    found: list[TaskSpec] = []
    for task in tasks:
        spec = _find_task(task, path.parent, search)
        if any(each.name == spec.name for each in found):
            raise KingyoError(
                f"{path}: tasks",
                expected="different tasks",
                received=f"{spec.name} twice",
                remedy="Name each once; its weight says how much it counts.",
            )
        weighs = "weight" in task.model_fields_set
        found.append(spec.model_copy(update={"weight": task.weight}) if weighs else spec)
    return found


def _tasks(specs: Sequence[TaskSpec]) -> dict[str, object]:
    """As a run.yaml names them: one as ``task``, several as ``tasks``."""
    written = {spec.name: spec.model_dump(exclude_unset=True) | {"name": spec.name} for spec in specs}
    return {"tasks": written} if len(specs) > 1 else {"task": written[specs[0].name]}


def _find_task(task: _Task, folder: Path, search: Sequence[Path]) -> TaskSpec:
    folders = (folder, *search)
    names = (task.name, f"{task.name}.yaml", f"{task.name}.yml")
    file = next((each / name for each in folders for name in names if (each / name).is_file()), None)
    if file is not None and not {"task", "dataset_path"} & read_yaml(file).keys():
        return load_task_spec(file)
    places = ", ".join(str(each.resolve()) for each in folders)
    raise KingyoError(
        f"tasks: {task.name}",
        expected=f"a kingyo task, as {task.name}.yaml in {places}",
        received="none there" if file is None else f"{file}, a task of lm-eval's",
        remedy="kingyo does not run lm-eval's tasks: write a task file with data:, prompt: and grader: (see "
        "docs/run-yaml.md), put it beside the genome file or name its folder with --task-search-path.",
    )


def _names(genome: _Definition) -> dict[str, str]:
    """Short names for the models: the last part of a path, with a number where two are alike."""
    found: dict[str, str] = {}
    for reference in genome.models:
        last = reference.split("+")[0].split("@")[0].rstrip("/").rpartition("/")[2]
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", last).lstrip("-._") or "model"
        taken = stem in RESERVED_NAMES or (stem == "base" and reference != genome.base_model)
        name, n = f"{stem}-1" if taken else stem, 1
        while name in found:
            n += 1
            name = f"{stem}-{n}"
        found[name] = reference
    return found


def _notes(found: _GenomeFile) -> Iterator[str]:
    given = [key for key in LM_EVAL_KEYS if key in found.model_fields_set]
    given += ["metric"] if any("metric" in task.model_fields_set for task in found.tasks) else []
    if given:
        yield (
            f"{', '.join(given)}: settings of lm-eval's tasks, without effect here: the task file says what "
            "is asked, of which items, and what is right."
        )
