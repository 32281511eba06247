"""Build a task from its spec and its split items."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError, crash
from kingyo.tasks.spec import TaskSpec, settings_of
from kingyo.tasks.task_kinds import FIX, TASK_KINDS, Splits
from kingyo.types import Task


def build_task(spec: TaskSpec, splits: Splits, folder: Path) -> Task:
    """Build the task of a spec.

    Args:
        spec: the task's YAML.
        splits: its items, from the data or from a run's store.
        folder: base of relative paths in the spec.

    Raises:
        KingyoError: an unknown kind, grader or option, an item that a grader cannot grade, or a failure in a
            user's own kind.
    """
    kind, settings = spec.kind_name, settings_of(spec, folder)
    build = TASK_KINDS.get(kind, folder)
    try:
        task = cast(object, build(spec.name, settings, splits, folder))
        if not isinstance(task, Task):
            raise _invalid_kind(kind, spec, f"{task!r}, without name, items and score"[:120])
        for split, items in splits.items():
            own = list(task.items(split))
            if own != list(items):
                difference = "other items" if len(own) == len(items) else f"{len(own)} items"
                raise _invalid_kind(kind, spec, difference, f"the {len(items)} given items of {split}")
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        raise _invalid_kind(kind, spec, crash(error)) from error
    return task


def _invalid_kind(kind: str, spec: TaskSpec, received: str, expected: str = "a task") -> KingyoError:
    return KingyoError(
        f"kind {kind} of task {spec.name}",
        expected=expected,
        received=received,
        remedy=FIX,
    )
