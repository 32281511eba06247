"""Open the task of a task file, a run.yaml, or a run folder."""

from __future__ import annotations

from pathlib import Path

from kingyo.core.io.yaml import read_yaml
from kingyo.core.types import Task
from kingyo.registry import whole_reference
from kingyo.runs.config_file import load_config, specs_in
from kingyo.runs.provenance import require_same
from kingyo.runs.setup import stored_config, use_threads
from kingyo.store import RunStore
from kingyo.tasks import build_tasks, load_splits


def open_task(path: Path) -> Task:
    """Open the tasks of a task file, a run.yaml, a file with only ``tasks:``, or a run folder.

    Several tasks are joined, see ``SeveralTasks``. A run folder gives its own items, and sets torch to the
    threads of the run.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            use_threads(store)
            config, folder = stored_config(store)
            require_same(store, only_code=True)
            return build_tasks(config.specs, store.items(), folder)
    specs = specs_in(path)
    return build_tasks(specs, load_splits(specs, path.parent).splits, path.parent)


def kind_in(path: Path) -> str | None:
    """Return the kind of model that a run.yaml or a run folder names, or None.

    A path of an object in a file is returned as an absolute path.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            config, folder = stored_config(store)
    elif "sources" in read_yaml(path):
        config, folder = load_config(path), path.parent
    else:
        return None
    return None if config.kind is None else whole_reference(config.kind, folder)
