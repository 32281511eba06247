"""Read run.yaml, with the task files that it names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field, model_validator

from kingyo.core.io.schema import Real, StrictModel, parse_model
from kingyo.core.io.yaml import read_yaml
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.model_reference import with_denoiser
from kingyo.merging.recipe.contents import Base, Model
from kingyo.runs.config import RESERVED_NAMES, NamedTasks, RunConfig, parse_config
from kingyo.tasks import TaskSpec, load_task_spec

BY_SCOUT = "scout"
"""The only key of ``sources`` if a scout chooses them: ``sources: {scout: WHERE}``."""


class TasksConfig(StrictModel):
    """A file with only the key ``tasks``, as written beside an exported model."""

    tasks: Annotated[NamedTasks, Field(min_length=1)]


def load_config(path: Path, data: Mapping[str, object] | None = None) -> RunConfig:
    """Read and check a run.yaml. The folder of a diffusion pipeline stands for its denoiser."""
    data = read_yaml(path) if data is None else data
    config = config_from_data({"name": name_from_path(path), **data}, path.parent, str(path))
    return with_denoisers(config, path.parent)


def with_denoisers(config: RunConfig, folder: Path) -> RunConfig:
    """Name the denoiser of each diffusion pipeline instead of its folder."""
    sources = {name: with_denoiser(each, folder) for name, each in config.sources.items()}
    base = None if config.base is None else with_denoiser(config.base, folder)
    changed = {"sources": sources, "base": base}
    return config.model_copy(
        update={key: each for key, each in changed.items() if each != getattr(config, key)}
    )


def asks_scout(data: Mapping[str, object]) -> bool:
    """Return whether a run.yaml leaves the choice of its sources to a scout."""
    sources = data.get("sources")
    return isinstance(sources, dict) and list(cast("dict[object, object]", sources)) == [BY_SCOUT]


def config_from_data(data: Mapping[str, object], folder: Path, where: str = "config") -> RunConfig:
    if "task" in data:
        data = {**data, "task": _task_from_file(data["task"], folder)}
    if "tasks" in data:
        data = {**data, "tasks": _tasks_from_files(data["tasks"], folder)}
    return parse_config(data, where)


def name_from_path(path: Path, default: str = "run") -> str:
    """Return the default name of a run: the name of its file, in the characters that names may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._") or default


def specs_in(path: Path) -> dict[str, TaskSpec]:
    """Return the specs in a task file, a run.yaml, or a file with only ``tasks:``."""
    data = read_yaml(path)
    if data.keys() == {"tasks"}:
        data = {"tasks": _tasks_from_files(data["tasks"], path.parent)}
        return dict(parse_model(TasksConfig, data, str(path)).tasks)
    if data.keys() & {"task", "tasks"}:
        return load_config(path).specs
    spec = load_task_spec(path)
    return {spec.name: spec}


def _tasks_from_files(tasks: object, folder: Path) -> object:
    if not isinstance(tasks, dict):
        return tasks
    by_name = cast("dict[object, object]", tasks)
    return {str(name): _task_from_file(task, folder) for name, task in by_name.items()}


def _task_from_file(task: object, folder: Path) -> object:
    keys: object = {"file": task} if isinstance(task, str) else task
    own = dict(cast("dict[str, object]", keys)) if isinstance(keys, dict) else {}
    if "file" not in own:
        return task
    file = own.pop("file")
    if not isinstance(file, str):
        remedy = "Write `file: my-task.yaml`; keys beside it replace those of the file."
        raise KingyoError("file of a task", "the path of a task file", repr(file)[:80], remedy)
    spec = load_task_spec(folder / file)
    return {**spec.model_dump(exclude_unset=True), "name": spec.name, **own}


MAX_FEVALS = 100
SIGMA = 1 / 6
"""Defaults of mergekit-evolve; sigma is in units of genes, not a share of an axis."""
LM_EVAL_KEYS = ("limit", "num_fewshot", "shuffle", "apply_chat_template", "fewshot_as_multiturn")
NORMALIZED = {"linear": True, "task_arithmetic": False, "ties": True, "dare_ties": True}
"""Method -> default of ``normalize``; none for slerp."""


class _Genome(StrictModel):
    models: Annotated[list[Model], Field(min_length=1)]
    merge_method: str
    base_model: Base = None
    layer_granularity: Annotated[int, Field(strict=True)] = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: list[str] | None = None
    smooth: bool = False
    tokenizer_source: str | None = None


class _Task(StrictModel):
    name: Annotated[str, Field(min_length=1)]
    weight: Annotated[Real, Field(gt=0)] = 1.0
    metric: str = "acc,none"

    @model_validator(mode="before")
    @classmethod
    def _is_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class _GenomeFile(StrictModel):
    genome: _Genome
    tasks: Annotated[list[_Task], Field(min_length=1)]
    limit: int | None = None
    num_fewshot: int | None = None
    shuffle: bool = False
    random_init: bool = False
    apply_chat_template: bool = True
    fewshot_as_multiturn: bool = True


def is_genome_file(data: Mapping[str, object]) -> bool:
    return "genome" in data and "sources" not in data


def convert_genome_file(path: Path, max_fevals: int | None = None) -> tuple[dict[str, object], list[str]]:
    """Return the content of a run.yaml for a genome file, and the keys that have no effect in it."""
    file = parse_model(_GenomeFile, read_yaml(path), str(path))
    merge, sigma = _merge(file.genome, path.parent)
    data: dict[str, object] = {
        "name": name_from_path(path, "genome"),
        "sources": _names(file.genome),
        **_tasks(file.tasks, path),
        "merge": merge,
        "search": {"preset": "mergekit-evolve", "settings": {"sigma": sigma}},
        "budget": {"candidates": max_fevals or MAX_FEVALS},
    }
    base = file.genome.models[0] if file.genome.merge_method == "slerp" else file.genome.base_model
    if base is not None:
        data["base"] = base
    unused = [key for key in (*LM_EVAL_KEYS, "random_init") if key in file.model_fields_set]
    unused += ["metric"] if any("metric" in task.model_fields_set for task in file.tasks) else []
    return data, unused


def _merge(genome: _Genome, folder: Path) -> tuple[dict[str, object], float]:
    method, n = genome.merge_method, len(genome.models)
    if method not in (*NORMALIZED, "slerp"):
        raise unknown_name_error("genome.merge_method", method, (*NORMALIZED, "slerp"))
    for key, holds, expected in (
        ("filters", not genome.filters, "no filters, because a run.yaml has genes by groups of layers"),
        ("smooth", not genome.smooth, "false, because weights of a run.yaml change in steps"),
        ("models", method != "slerp" or n == 2, "two models for slerp"),
    ):
        if not holds:
            remedy = "Change it, or write a run.yaml with merge.groups: kingyo init."
            received = str(getattr(genome, key))
            raise KingyoError(f"genome.{key}", expected, received, remedy)
    merge: dict[str, object] = {"method": method, "dtype": "bfloat16", "groups": _groups(genome, folder)}
    if genome.tokenizer_source is not None:
        merge["tokenizer_source"] = genome.tokenizer_source
    if method == "slerp":
        return {**merge, "parameters": {"t": {"from": 0, "to": 1}}}, SIGMA
    low, high = (-1 if genome.allow_negative_weights else 0), 2
    parameters: dict[str, object] = {"weight": {"from": low, "to": high, "start": 1 / n}}
    if method in ("ties", "dare_ties"):
        parameters["density"] = {"from": 0, "to": 1, "start": 1}
    parameters["normalize"] = NORMALIZED[method] if genome.normalize is None else genome.normalize
    return {**merge, "parameters": parameters}, SIGMA / (high - low)


def _groups(genome: _Genome, folder: Path) -> str:
    if genome.layer_granularity <= 0:
        return "one"
    n_layers = open_checkpoint(genome.models[0], folder, fetch=False).layout.n_blocks
    n_groups, rest = divmod(n_layers, genome.layer_granularity)
    if rest or not n_groups:
        expected = f"0, or a divisor of {n_layers}, the number of layers"
        remedy = "Use such a number."
        raise KingyoError("genome.layer_granularity", expected, str(genome.layer_granularity), remedy)
    return f"layers:{n_groups}"


def _tasks(tasks: Sequence[_Task], path: Path) -> dict[str, object]:
    specs: dict[str, dict[str, object]] = {}
    for task in tasks:
        spec = _find_task(task, path.parent)
        if spec.name in specs:
            remedy = "Name each once, and set its weight."
            raise KingyoError(f"{path}: tasks", "different tasks", f"{spec.name} twice", remedy)
        weight = {"weight": task.weight} if "weight" in task.model_fields_set else {}
        specs[spec.name] = {**spec.model_dump(exclude_unset=True), "name": spec.name, **weight}
    return {"tasks": specs} if len(specs) > 1 else {"task": next(iter(specs.values()))}


def _find_task(task: _Task, folder: Path) -> TaskSpec:
    files = (folder / f"{task.name}{end}" for end in ("", ".yaml", ".yml"))
    file = next((each for each in files if each.is_file()), None)
    if file is not None and not {"task", "dataset_path"} & read_yaml(file).keys():
        return load_task_spec(file)
    raise KingyoError(
        f"tasks: {task.name}",
        f"a kingyo task, as {task.name}.yaml in {folder.resolve()}",
        "no such file" if file is None else f"{file}, a task of lm-eval",
        "Write a task file with data:, prompt: and grader: (see docs/run-yaml.md) beside the genome "
        "file; kingyo does not run tasks of lm-eval.",
    )


def _names(genome: _Genome) -> dict[str, str]:
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
