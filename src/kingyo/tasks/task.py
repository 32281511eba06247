"""From a spec and its split items to a task, by the task's kind."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError, crash
from kingyo.tasks.kinds import FIX, TASK_KINDS, Splits
from kingyo.tasks.spec import TaskSpec, settings_of
from kingyo.types import Task


def build_task(spec: TaskSpec, splits: Splits, folder: Path) -> Task:
    """Build the task of a spec.

    Args:
        spec: what the user wrote.
        splits: its items, from the file or, when a run is resumed, from the run's store.
        folder: where relative paths in the spec start.

    Raises:
        KingyoError: an unknown kind, grader or option, an item that the graders cannot grade, or a kind of
            the user's own that fails.
    """
    kind, settings = spec.kind_name, settings_of(spec, folder)
    make = TASK_KINDS.get(kind, folder)
    try:
        made = cast(object, make(spec.name, settings, splits, folder))
        if not isinstance(made, Task):
            raise _unmade(kind, spec, f"{made!r}, without name, items and score"[:120])
        for split, items in splits.items():
            found = list(made.items(split))
            if found != list(items):
                counted = "others" if len(found) == len(items) else f"{len(found)} items"
                raise _unmade(kind, spec, counted, f"the {len(items)} items of {split} that it was given")
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        raise _unmade(kind, spec, crash(error)) from error
    return made


def _unmade(
    kind: str, spec: TaskSpec, received: str, expected: str = "a task that can be made"
) -> KingyoError:
    return KingyoError(
        f"kind {kind} of task {spec.name}",
        expected=expected,
        received=received,
        remedy=FIX,
    )
