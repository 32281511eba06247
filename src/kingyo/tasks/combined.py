"""Load the items of tasks, build tasks, and combine several into one, whose items are scored by their own.

In a run with several tasks an item's id is ``TASK/ID`` and its ``task`` is the task's name; in a run with one
task items keep their ids.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from kingyo.core.types import (
    SPLITS,
    Example,
    HasRoom,
    Item,
    ItemScore,
    MeasuredTask,
    SetMeasure,
    Split,
    Task,
    TeachingTask,
)
from kingyo.errors import KingyoError, crashes_as_errors, suggest, unknown_name_error
from kingyo.tasks.kinds import FIX, TASK_KINDS, GradedSettings, ReadItem, Splits, TextSettings, read_text_item
from kingyo.tasks.rows import Row, read_rows
from kingyo.tasks.spec import TaskSpec, settings_of
from kingyo.tasks.splits import (
    NearDuplicates,
    Placed,
    count_near,
    group_labels,
    make_splits,
    near_groups,
    note_apart,
    question,
)


@dataclass(frozen=True, kw_only=True)
class LoadedItems:
    """The items of a file in its order, and how many duplicate rows were dropped."""

    items: tuple[Item, ...]
    duplicates: int


def load_items(spec: TaskSpec, folder: Path) -> LoadedItems:
    """Read, check and de-duplicate the items of a task; see ``splits.question`` for what duplicates share.

    The first row is kept. Different answers are an error, unless one row asks a question twice.
    """
    settings = settings_of(spec, folder)
    read = _reader(spec.kind_name, settings, folder)
    items: dict[str, Item] = {}
    firsts: dict[str, Row] = {}
    rows = 0
    for row in _rows(spec, settings, folder):
        rows += 1
        item = _read(row, read, settings, spec)
        first, first_row = items.setdefault(item.id, item), firsts.setdefault(item.id, row)
        if first.answer != item.answer and not (row.unfolded and row.unfolded == first_row.unfolded):
            expected = f"one answer per question, {first.answer!r} as at {first_row.where}"
            remedy = "Delete the wrong row, or make the two questions differ."
            raise KingyoError(row.where, expected, f"{item.answer!r} to the same question", remedy)
    if not items:
        source = spec.data if isinstance(spec.data, str) else spec.data.dataset
        remedy = "Add rows, or set data: to another file or dataset."
        raise KingyoError(f"data: {source}", "at least one row", "no rows", remedy)
    return LoadedItems(items=tuple(items.values()), duplicates=rows - len(items))


def _reader(kind: str, settings: object, folder: Path) -> ReadItem:
    read = getattr(TASK_KINDS.get(kind, folder), "read_item", None)
    if read is None and isinstance(settings, TextSettings):
        return read_text_item
    if not callable(read):
        expected = "a static method read_item(row, settings), since it has its own Settings"
        remedy = "Add the method, or derive Settings from kingyo.tasks.TextSettings."
        raise KingyoError(f"kind {kind}", expected, repr(read), remedy)
    return cast(ReadItem, read)


def _rows(spec: TaskSpec, settings: object, folder: Path) -> Iterator[Row]:
    for row in read_rows(spec.data, folder):
        yield from settings.unfolded(row) if isinstance(settings, GradedSettings) else (row,)


def _read(row: Row, read: ReadItem, settings: object, spec: TaskSpec) -> Item:
    remedy = "Fix read_item of the kind, or delete this row."
    title = f"{row.where}: kind {spec.kind_name} of task {spec.name}"
    with crashes_as_errors(title, expected="an item", remedy=remedy):
        item = read(row, settings)
        if not isinstance(item, Item):
            raise TypeError(f"{item!r:.80}, which is not an Item")
        if not isinstance(cast(object, item.group), str | None):
            raise TypeError(f"the group {item.group!r:.80}, which is not text")
    if not item.fields.keys() >= row.columns.keys():
        item = replace(item, fields={**row.texts(), **item.fields})
    for name, text in [*item.fields.items(), ("prompt", item.prompt), ("group", item.group)]:
        try:  # JSON can hold half a character, such as \ud83d alone, but UTF-8 files and databases cannot
            f"{name}{text}".encode()
        except UnicodeEncodeError as error:
            received = f"U+{ord(error.object[error.start]):04X}, half a character"
            remedy = "Write the complete character, or remove it."
            raise KingyoError(f"{row.where}: {name!a}", "valid Unicode text", received, remedy) from error
    return replace(item, id=hashlib.sha256(question(item).encode()).hexdigest()[:16], where=row.where)


def build_task(spec: TaskSpec, splits: Splits, folder: Path) -> Task:
    settings = settings_of(spec, folder)
    build = TASK_KINDS.get(spec.kind_name, folder)
    title = f"kind {spec.kind_name} of task {spec.name}"
    expected = "a task with name, score and the given items"
    with crashes_as_errors(title, expected=expected, remedy=FIX):
        task = cast(object, build(spec.name, settings, splits, folder))
        own = {split: list(task.items(split)) for split in splits} if isinstance(task, Task) else {}
    if not isinstance(task, Task) or any(own[split] != list(items) for split, items in splits.items()):
        received = "other items" if own else f"{task!r:.80}"
        raise KingyoError(title, expected, received, FIX)
    return task


@dataclass(frozen=True, kw_only=True)
class LoadedSplits:
    """The items of all tasks by split; ``unused`` counts those that the sizes of the splits leave out.

    ``notes`` warn about near-duplicates in different splits.
    """

    splits: Mapping[Split, tuple[Item, ...]]
    duplicates: int
    near: NearDuplicates
    notes: tuple[str, ...]
    unused: int = 0


class SeveralTasks:
    """A task that combines tasks; each item is scored by the task that its ``task`` names."""

    def __init__(self, tasks: Sequence[Task], weights: Mapping[str, float]) -> None:
        self.tasks = tuple(tasks)
        self._tasks = {task.name: task for task in tasks}
        self.weights = dict(weights)

    @property
    def name(self) -> str:
        return " + ".join(self._tasks)

    def items(self, split: Split) -> Sequence[Item]:
        return tuple(item for task in self.tasks for item in task.items(split))

    def score(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Return the score of each item, in the order of ``items``; each task is called once."""
        by_item: dict[str, ItemScore] = {}
        for name in dict.fromkeys(item.task for item in items):
            if name not in self._tasks:
                raise unknown_name_error("task of an item", name, self._tasks)
            own = [item for item in items if item.task == name]
            by_item |= {each.item: each for each in self._tasks[name].score(model, own)}
        return tuple(by_item[item.id] for item in items if item.id in by_item)


def examples_of(
    task: Task,
    model: Any,
    items: Sequence[Item],
    answers: Mapping[str, Sequence[str]],
    *,
    prefers_given: bool,
) -> tuple[Example, ...]:
    """Return the training examples of each task that the model has room for; see ``TeachingTask``."""
    examples: list[Example] = []
    for each in require_teaching(task):
        own = [item for item in items if item.task in ("", each.name)]
        examples += each.examples(model, own, answers, prefers_given=prefers_given)
    return tuple(each for each in examples if not isinstance(model, HasRoom) or model.fits(each))


def require_teaching(
    task: Task,
    argument: str = "control trained",
    remedy: str = "Turn the control off (controls: {trained: false})",
) -> list[TeachingTask]:
    """Return the tasks of a combined task, or the task itself; a model can be trained on each."""
    tasks: list[TeachingTask] = []
    for each in single_tasks(task):
        if not isinstance(each, TeachingTask):
            expected = "a task of kind generate or choice, or one with a method `examples`"
            remedy = f"{remedy.rstrip('.')}, or add `examples`, as in kingyo.core.types.TeachingTask."
            raise KingyoError(f"{argument}: task {each.name}", expected, type(each).__name__, remedy)
        tasks.append(each)
    return tasks


def single_tasks(task: Task) -> tuple[Task, ...]:
    """Return the tasks of a combined task, or the task itself."""
    return task.tasks if isinstance(task, SeveralTasks) else (task,)


def set_measures_of(task: Task) -> dict[str, Sequence[SetMeasure]]:
    """Return the set measures of each task, by the value of ``task`` in its items ("" for a single task)."""
    by_task: dict[str, Sequence[SetMeasure]] = {}
    for each in single_tasks(task):
        measures = each.set_measures if isinstance(each, MeasuredTask) else ()
        by_task["" if each is task else each.name] = measures
    return by_task


def require_measures(task: Task, wanted: Mapping[str, str]) -> None:
    measures = set_measures_of(task)
    for name, measure in wanted.items():
        known = [each.name for each in measures[name]]
        if measure not in known:
            expected = f"one of {', '.join(known)}" if known else "a kind of task with set measures"
            remedy = suggest(measure, known) if known else "Remove `measure`."
            raise KingyoError(f"task {name or task.name}: measure", expected, f"'{measure}'", remedy)


def weights_of(task: Task) -> dict[str, float]:
    """Return the weight of each task, with the keys of ``set_measures_of``."""
    return task.weights if isinstance(task, SeveralTasks) else {"": 1.0}


def load_splits(specs: Mapping[str, TaskSpec], folder: Path) -> LoadedSplits:
    """Load and split the items of a run's tasks, each by its own sizes."""
    by_split: dict[Split, list[Item]] = {split: [] for split in SPLITS}
    duplicates, unused, placed = 0, 0, list[list[Placed]]()
    notes: list[str] = []
    for name, spec in specs.items():
        loaded = load_items(spec, folder)
        duplicates += loaded.duplicates
        sizes = spec.splits
        groups = near_groups(loaded.items, share_images=sizes.share_images)
        own, labels = dict[str, Placed](), group_labels(groups)
        for split, items in make_splits(loaded.items, sizes, groups=groups).items():
            for item in items:
                placed_item = replace(item, group=labels.get(item.id, ""))
                if len(specs) > 1:
                    parts = [label.rpartition(" ") for label in placed_item.group.splitlines()]
                    group = "\n".join(f"{noun or 'group'} {name}/{label}" for noun, _, label in parts)
                    placed_item = replace(item, id=f"{name}/{item.id}", task=name, group=group)
                own[item.id] = split, placed_item
                by_split[split].append(placed_item)
        unused += len(loaded.items) - len(own)
        used = [[own[item.id] for item in group if item.id in own] for group in groups]
        notes += note_apart(used, f"Correct the column {sizes.column}, or delete rows")
        placed += used
    return LoadedSplits(
        splits={split: tuple(items) for split, items in by_split.items()},
        duplicates=duplicates,
        near=count_near(placed),
        notes=tuple(notes),
        unused=unused,
    )


def build_tasks(specs: Mapping[str, TaskSpec], splits: Splits, folder: Path) -> Task:
    """Build the task of a run; several tasks are combined."""
    built = [build_task(spec, splits_of(name, specs, splits), folder) for name, spec in specs.items()]
    if len(built) == 1:
        return built[0]
    return SeveralTasks(built, {name: spec.weight for name, spec in specs.items()})


def splits_of(name: str, specs: Mapping[str, TaskSpec], splits: Splits) -> Splits:
    if len(specs) == 1:
        return splits
    return {split: tuple(item for item in items if item.task == name) for split, items in splits.items()}
