"""Read the genome file of mergekit-evolve as a run. Its tasks are kingyo's.

Differences from mergekit are returned as notes, and listed in ``docs/run-yaml.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from kingyo.errors import KingyoError
from kingyo.io.schema import Real, parse_model
from kingyo.io.yaml import read_yaml
from kingyo.recipe.contents import Base, Model
from kingyo.run.config import RESERVED_NAMES, RunConfig, StrictModel, parse_config
from kingyo.run.config_file import name_from_path
from kingyo.space import GenomeLayout
from kingyo.tasks import TaskSpec, load_task_spec

MAX_FEVALS = 100
SIGMA = 1 / 6
"""Defaults of mergekit-evolve; sigma is in units of genes, not a share of an axis."""
LM_EVAL_KEYS = ("limit", "num_fewshot", "shuffle", "apply_chat_template", "fewshot_as_multiturn")
DTYPE = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class GenomeRun:
    """A genome file as a run."""

    config: RunConfig
    notes: tuple[str, ...] = ()


class _Definition(GenomeLayout):
    models: Annotated[list[Model], Field(min_length=1)]
    merge_method: str
    base_model: Base = None
    filters: Annotated[tuple[str, ...], BeforeValidator(lambda value: value or ())] = ()


class _Task(StrictModel):
    name: Annotated[str, Field(min_length=1)]
    weight: Annotated[Real, Field(gt=0)] = 1.0
    metric: str = "acc,none"

    @model_validator(mode="before")
    @classmethod
    def _is_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class _GenomeFile(StrictModel):
    genome: _Definition
    tasks: Annotated[list[_Task], Field(min_length=1)]
    limit: int | None = None
    num_fewshot: int | None = None
    shuffle: bool = False
    random_init: bool = False
    apply_chat_template: bool = True
    fewshot_as_multiturn: bool = True


def is_genome_file(data: Mapping[str, object]) -> bool:
    """Return whether the content of a file is a genome file, not a run.yaml."""
    return "genome" in data and "sources" not in data


def load_genome_file(
    path: Path, *, max_fevals: int | None = None, task_search_path: Sequence[Path] = ()
) -> GenomeRun:
    """Read a genome file as a run.

    Args:
        path: the file; relative paths of models start at its folder.
        max_fevals: number of candidates; 100 if None.
        task_search_path: folders with task files, besides that of the file.
    """
    file = parse_model(_GenomeFile, read_yaml(path), str(path))
    specs = _specs(file.tasks, path, task_search_path)
    low, high = file.genome.bounds(file.genome.merge_method)
    data: dict[str, object] = {
        "name": name_from_path(path, "genome"),
        "sources": _names(file.genome),
        **_tasks(specs),
        "merge": {
            "method": file.genome.merge_method,
            "dtype": DTYPE,
            "genome": _genome(file),
        },
        "search": {"preset": "mergekit-evolve", "settings": {"sigma": SIGMA / (high - low)}},
        "budget": {"candidates": max_fevals or MAX_FEVALS},
    }
    if file.genome.base_model is not None:
        data["base"] = file.genome.base_model
    return GenomeRun(config=parse_config(data, str(path)), notes=tuple(_notes(file)))


def _genome(file: _GenomeFile) -> dict[str, object]:
    given = file.genome.model_dump(include=set(GenomeLayout.model_fields), exclude_unset=True)
    return {"filters": (), **given, "random_init": file.random_init}


def _specs(tasks: Sequence[_Task], path: Path, search: Sequence[Path]) -> list[TaskSpec]:
    specs: list[TaskSpec] = []
    for task in tasks:
        spec = _find_task(task, path.parent, search)
        if any(other.name == spec.name for other in specs):
            raise KingyoError(
                f"{path}: tasks",
                expected="different tasks",
                received=f"{spec.name} twice",
                remedy="Name each once, and set its weight.",
            )
        has_weight = "weight" in task.model_fields_set
        specs.append(spec.model_copy(update={"weight": task.weight}) if has_weight else spec)
    return specs


def _tasks(specs: Sequence[TaskSpec]) -> dict[str, object]:
    tasks = {spec.name: spec.model_dump(exclude_unset=True) | {"name": spec.name} for spec in specs}
    return {"tasks": tasks} if len(specs) > 1 else {"task": tasks[specs[0].name]}


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
        received="no such file" if file is None else f"{file}, a task of lm-eval",
        remedy="Write a task file with data:, prompt: and grader: (see docs/run-yaml.md) beside the genome "
        "file, or name its folder with --task-search-path; kingyo does not run tasks of lm-eval.",
    )


def _names(genome: _Definition) -> dict[str, str]:
    """Return short names of the models: the last part of the path, with a number if it is taken."""
    references: dict[str, str] = {}
    for reference in genome.models:
        last = reference.split("+")[0].split("@")[0].rstrip("/").rpartition("/")[2]
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", last).lstrip("-._") or "model"
        taken = stem in RESERVED_NAMES or (stem == "base" and reference != genome.base_model)
        name, n = f"{stem}-1" if taken else stem, 1
        while name in references:
            n += 1
            name = f"{stem}-{n}"
        references[name] = reference
    return references


def _notes(file: _GenomeFile) -> Iterator[str]:
    keys = [key for key in LM_EVAL_KEYS if key in file.model_fields_set]
    keys += ["metric"] if any("metric" in task.model_fields_set for task in file.tasks) else []
    if keys:
        yield (
            f"{', '.join(keys)}: settings of lm-eval's tasks, without effect here. The task file defines "
            "prompts, items and graders."
        )
