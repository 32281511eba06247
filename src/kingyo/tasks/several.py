"""Several tasks as one: their items side by side, each scored by its own task.

A single task stays as it is, with the names of items that it always had; of several, an item is called
``TASK/ID`` and knows its task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from kingyo.errors import KingyoError, suggest
from kingyo.tasks.items import load_items
from kingyo.tasks.kinds import Splits
from kingyo.tasks.near import NearDuplicates, Placed, count_near, near_groups, note_apart
from kingyo.tasks.spec import TaskSpec
from kingyo.tasks.splits import make_splits
from kingyo.tasks.task import build_task
from kingyo.types import (
    SPLITS,
    Example,
    Item,
    ItemScore,
    MeasuredTask,
    SetMeasure,
    Split,
    Task,
    TeachingTask,
)

_FIX = "kingyo.testing.tasks holds the contract of a task."


@dataclass(frozen=True, kw_only=True)
class LoadedSplits:
    """The split items of all tasks, task by task.

    Attributes:
        splits: the items.
        duplicates: how many rows were dropped, since another asks the same.
        unused: how many items are in no split, since their sizes leave them out.
        near: how many near-duplicates are among the items.
        notes: on near-duplicates that stand in more than one split.
    """

    splits: Mapping[Split, tuple[Item, ...]]
    duplicates: int
    near: NearDuplicates
    notes: tuple[str, ...]
    unused: int = 0


class SeveralTasks:
    """A task made of tasks: an item is scored by the task that its ``task`` names.

    Args:
        tasks: with different names; their items are marked with these.
        weights: how much the mean of each counts, by its name.
    """

    def __init__(self, tasks: Sequence[Task], weights: Mapping[str, float]) -> None:
        self._tasks = {task.name: task for task in tasks}
        self.weights = dict(weights)

    @property
    def name(self) -> str:
        """The names of all."""
        return " + ".join(self._tasks)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in their order."""
        return tuple(self._tasks.values())

    def items(self, split: Split) -> Sequence[Item]:
        """The items of a split, task by task."""
        return tuple(item for task in self.tasks for item in task.items(split))

    def score(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Score each item, in the order given; a task is asked once for all of its items.

        Raises:
            KingyoError: an item of none of the tasks, a task that does not score all that it is given, or
                whatever a task raises.
        """
        found: dict[str, ItemScore] = {}
        for name, own in _by_task(items).items():
            if name not in self._tasks:
                raise KingyoError(
                    f"item {own[0].id}",
                    expected=f"one of the tasks {', '.join(self._tasks)}",
                    received=repr(name),
                    remedy=suggest(name, self._tasks),
                )
            scores = self._tasks[name].score(model, own)
            check_order(f"task {name}", own, scores)
            found |= {each.item: each for each in scores}
        return tuple(found[item.id] for item in items)


def examples_of(
    task: Task,
    model: Any,
    items: Sequence[Item],
    answers: Mapping[str, Sequence[str]],
    *,
    prefers_given: bool,
) -> tuple[Example, ...]:
    """Return what a model should learn for a task, or for each of several.

    Args:
        task, model, items, answers, prefers_given: see ``TeachingTask.examples``; the items name their tasks.

    Raises:
        KingyoError: a task cannot say what a model should learn.
    """
    require_teaching(task)
    found: list[Example] = []
    for each in single_tasks(task):
        own = [item for item in items if item.task in ("", each.name)]
        if isinstance(each, TeachingTask):
            found += each.examples(model, own, answers, prefers_given=prefers_given)
    return tuple(found)


def require_teaching(task: Task) -> None:
    """Check that a model can be trained on a task.

    Raises:
        KingyoError: it is of a kind of the user's own that cannot say what a model should learn.
    """
    for each in single_tasks(task):
        if not isinstance(each, TeachingTask):
            raise KingyoError(
                f"control trained: task {each.name}",
                expected="a task of kind generate or choice, or one with a method `examples`",
                received=type(each).__name__,
                remedy="Switch the control off (controls: {trained: false}), or add `examples`, as in "
                "kingyo.types.TeachingTask.",
            )


def single_tasks(task: Task) -> tuple[Task, ...]:
    """The tasks that a task is made of: itself, if it is one."""
    return task.tasks if isinstance(task, SeveralTasks) else (task,)


def set_measures_of(task: Task) -> dict[str, Sequence[SetMeasure]]:
    """Return the measures of sets of each task, by what its items call it.

    Raises:
        KingyoError: two measures of a task have one name.
    """
    found: dict[str, Sequence[SetMeasure]] = {}
    for each in single_tasks(task):
        measures = each.set_measures if isinstance(each, MeasuredTask) else ()
        names = [measure.name for measure in measures]
        if len(set(names)) < len(names):
            raise KingyoError(
                f"task {each.name}: set_measures",
                expected="measures with different names",
                received=", ".join(names),
                remedy="Rename one of them.",
            )
        found["" if each is task else each.name] = measures
    return found


def require_measures(task: Task, wanted: Mapping[str, str]) -> None:
    """Check that tasks have the measures of sets that are to count.

    Args:
        task: one, or several as one.
        wanted: by what the items of a task call it: the name of its measure.

    Raises:
        KingyoError: a task without measures, or one that has no measure of this name.
    """
    measures = set_measures_of(task)
    for name, measure in wanted.items():
        known = [each.name for each in measures[name]]
        if measure not in known:
            raise KingyoError(
                f"task {name or task.name}: measure",
                expected=f"one of {', '.join(known)}"
                if known
                else "a kind of task that measures sets of answers",
                received=f"'{measure}'" + ("" if known else " of a kind without such measures"),
                remedy=suggest(measure, known)
                if known
                else "Leave it out, or let the kind have `set_measures`, as in kingyo.types.MeasuredTask.",
            )


def weights_of(task: Task) -> dict[str, float]:
    """How much each task counts, by what its items call it: the items of a single task name none."""
    return task.weights if isinstance(task, SeveralTasks) else {"": 1.0}


def load_splits(specs: Mapping[str, TaskSpec], folder: Path) -> LoadedSplits:
    """Read and split the items of a run's tasks, each by its own sizes.

    Args:
        specs: by name; one or more.
        folder: where relative paths start.

    Raises:
        KingyoError: see ``load_items`` and ``make_splits``.
    """
    found: dict[Split, list[Item]] = {split: [] for split in SPLITS}
    duplicates, unused, placed = 0, 0, list[list[Placed]]()
    notes: list[str] = []
    for name, spec in specs.items():
        loaded = load_items(spec, folder)
        duplicates += loaded.duplicates
        sizes = spec.splits
        groups = near_groups(loaded.items, sizes.similar, share_images=sizes.share_images)
        own: dict[str, Placed] = {}
        for split, items in make_splits(loaded.items, sizes, groups=groups).items():
            own |= {item.id: (split, item if len(specs) == 1 else _marked(item, name)) for item in items}
        for split, item in own.values():
            found[split].append(item)
        unused += len(loaded.items) - len(own)
        used = [[own[item.id] for item in group if item.id in own] for group in groups]
        notes += note_apart(used, "", f"Correct the column {sizes.column}, or delete rows")
        placed += used
    notes += _notes_across(found, specs) if len(specs) > 1 else ()
    return LoadedSplits(
        splits={split: tuple(items) for split, items in found.items()},
        duplicates=duplicates,
        near=count_near(placed),
        notes=tuple(notes),
        unused=unused,
    )


def _notes_across(splits: Mapping[Split, Sequence[Item]], specs: Mapping[str, TaskSpec]) -> Iterator[str]:
    """Yield a note on questions that several tasks ask, or images that they show, in different splits."""
    placed: dict[str, Placed] = {item.id: (split, item) for split, items in splits.items() for item in items}
    shared = any(spec.splits.share_images for spec in specs.values())
    groups: list[list[Placed]] = []
    for group in near_groups([item for _, item in placed.values()], share_images=shared):
        by_task = {item.task: placed[item.id] for item in reversed(group)}  # the first of each task
        groups.append([*by_task.values()][::-1])
    remedy = "Give these tasks the same splits, or delete rows"
    return note_apart(groups, " across tasks", remedy)


def build_tasks(specs: Mapping[str, TaskSpec], splits: Splits, folder: Path) -> Task:
    """Build the task of a run: the only one, or all of them as one.

    Args:
        specs: by name; one or more.
        splits: the items of all, from ``load_splits`` or a run's store.
        folder: where relative paths start.

    Raises:
        KingyoError: see ``build_task``.
    """
    built = [build_task(spec, splits_of(name, specs, splits), folder) for name, spec in specs.items()]
    if len(built) == 1:
        return built[0]
    return SeveralTasks(built, {name: spec.weight for name, spec in specs.items()})


def splits_of(name: str, specs: Mapping[str, TaskSpec], splits: Splits) -> Splits:
    """The items of one of a run's tasks."""
    if len(specs) == 1:
        return splits
    return {split: tuple(item for item in items if item.task == name) for split, items in splits.items()}


def _marked(item: Item, task: str) -> Item:
    return replace(item, id=f"{task}/{item.id}", task=task)


def _by_task(items: Sequence[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.task, []).append(item)
    return found


def check_order(where: str, items: Sequence[Item], scores: object) -> None:
    """Raise unless a task, which may be a user's own, gave each item its score, in their order."""
    found = cast("Sequence[object]", scores) if isinstance(scores, Sequence) else [scores]
    for each in found:
        if not isinstance(each, ItemScore):
            raise KingyoError(
                where, expected="an ItemScore for each item", received=repr(each)[:80], remedy=_FIX
            )
    given = cast("Sequence[ItemScore]", found)
    if [each.item for each in given] != [item.id for item in items]:
        raise KingyoError(
            where,
            expected=f"one score for each of {len(items)} items, in their order",
            received=f"{len(given)} scores" if len(given) != len(items) else "another order",
            remedy=_FIX,
        )
