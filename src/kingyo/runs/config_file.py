"""Read run.yaml, with the task files that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from kingyo.core.io.schema import parse_model
from kingyo.core.io.yaml import read_yaml
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.model_reference import with_denoiser
from kingyo.runs.config import NamedTasks, RunConfig, StrictModel, parse_config
from kingyo.tasks.spec import TaskSpec, load_task_spec

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
    changes = {"sources": sources} if sources != config.sources else {}
    changes |= {"base": base} if base != config.base else {}
    return config.model_copy(update=changes)


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


def load_tasks(path: Path) -> dict[str, TaskSpec]:
    data = read_yaml(path)
    data = {**data, "tasks": _tasks_from_files(data.get("tasks"), path.parent)}
    return dict(parse_model(TasksConfig, data, str(path)).tasks)


def specs_in(path: Path) -> dict[str, TaskSpec]:
    """Return the specs in a task file, a run.yaml, or a file with only ``tasks:``."""
    keys = set(read_yaml(path))
    if keys == {"tasks"}:
        return load_tasks(path)
    if keys & {"task", "tasks"}:
        return load_config(path).specs
    spec = load_task_spec(path)
    return {spec.name: spec}


def _tasks_from_files(tasks: object, folder: Path) -> object:
    if not isinstance(tasks, dict):
        return tasks
    by_name = cast("dict[object, object]", tasks)
    return {str(name): _task_from_file(task, folder) for name, task in by_name.items()}


def _task_from_file(task: object, folder: Path) -> object:
    """Return a task with the keys of the file that it names by path, or as ``{file: PATH, weight: 2}``."""
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
