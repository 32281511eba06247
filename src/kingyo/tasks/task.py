"""From a spec and its split items to a task, by the task's kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError, crash
from kingyo.registry import Registry
from kingyo.tasks.choice import Choice, ChoiceTask
from kingyo.tasks.generate import Asking, GenerateTask
from kingyo.tasks.grader import build_grader, build_verdict
from kingyo.tasks.spec import TaskSpec
from kingyo.types import Item, Split, Task

Splits = Mapping[Split, Sequence[Item]]
TaskBuilder = Callable[[TaskSpec, Splits, Path], Task]
"""Builds a task from its spec, its split items, and the folder where the spec's paths start."""

TASKS: Registry[TaskBuilder] = Registry("task kind", "kingyo.tasks", "kingyo.tasks")
"""Every kind of task by name. Plug-ins: entry points of the group ``kingyo.tasks``."""


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
    is_choice = any(name == "choice" for name, _ in spec.graders)
    kind = spec.kind or ("choice" if is_choice else "generate")
    make = TASKS.get(kind, folder)
    try:
        made = cast(object, make(spec, splits, folder))
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
        remedy="Fix the kind; kingyo.testing.tasks holds the contract of a task.",
    )


@TASKS.register("generate")
def build_generate(spec: TaskSpec, splits: Splits, folder: Path) -> Task:
    """Build a task that generates and grades."""
    asking = Asking(max_new_tokens=spec.max_new_tokens, stop=spec.stop, chat=spec.chat)
    verdict = build_verdict(spec.graders, folder, spec.grader_timeout)
    return GenerateTask(spec.name, splits, verdict=verdict, asking=asking)


@TASKS.register("choice")
def build_choice(spec: TaskSpec, splits: Splits, folder: Path) -> Task:
    """Build a multiple-choice task."""
    if [name for name, _ in spec.graders] != ["choice"]:
        names = ", ".join(name for name, _ in spec.graders)
        raise KingyoError(
            "grader",
            expected="`choice` alone in a multiple-choice task",
            received=names,
            remedy="Write `grader: choice` alone, or set kind: generate.",
        )
    choice = build_grader("choice", spec.graders[0][1], folder)
    if not isinstance(choice, Choice):
        raise TypeError("the registry's grader 'choice' is not Choice")
    return ChoiceTask(spec.name, splits, choice=choice, chat=spec.chat)
