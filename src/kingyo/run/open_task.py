"""A task, opened from whatever names it: a task file, a run.yaml, or a run folder."""

from __future__ import annotations

from pathlib import Path

from kingyo.io.yaml import read_yaml
from kingyo.registry import whole_reference
from kingyo.run.config_file import load_config, load_tasks
from kingyo.run.provenance import require_same_code
from kingyo.run.stored_config import stored_config
from kingyo.run.worker import use_threads
from kingyo.store import RunStore
from kingyo.tasks import TaskSpec, build_tasks, load_splits, load_task_spec
from kingyo.types import Task


def open_task(path: Path) -> Task:
    """Open a task file, the tasks of a run.yaml, or those of a run folder with the run's own items.

    A file of nothing but ``tasks:`` will do as well. Several tasks are opened as one, see ``SeveralTasks``.

    For a run folder torch then computes with as many threads as the run did, see ``use_threads``.

    Raises:
        KingyoError: what was named is no task; or a grader of a run is no longer what its scores were made
            with.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            use_threads(store)
            config, folder = stored_config(store)
            require_same_code(store, config, folder)
            return build_tasks(config.specs, store.items(), folder)
    specs = _specs_in(path)
    return build_tasks(specs, load_splits(specs, path.parent).splits, path.parent)


def kind_in(path: Path) -> str | None:
    """Return the kind of model that a run.yaml or a run folder says; None where what is named says none.

    Returns:
        Its name; with the whole path, if it is that of an object in a file.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            config, folder = stored_config(store)
    elif "sources" in read_yaml(path):
        config, folder = load_config(path), path.parent
    else:
        return None
    return None if config.kind is None else whole_reference(config.kind, folder)


def _specs_in(path: Path) -> dict[str, TaskSpec]:
    keys = set(read_yaml(path))
    if keys == {"tasks"}:
        return load_tasks(path)
    if keys & {"task", "tasks"}:
        return load_config(path).specs
    spec = load_task_spec(path)
    return {spec.name: spec}
