"""Files of a run's tasks for an exported folder, so that the model can be scored again.

Splits depend on a hash of the items, so stored items with stored sizes give the same splits. If there are
near-duplicates, splits also depend on items that were left out, and a column records them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from kingyo.errors import KingyoError
from kingyo.registry import is_in_file
from kingyo.tasks import TaskSpec, TextSettings, near_groups, settings_of, splits_of
from kingyo.tasks.text import GraderSpec
from kingyo.types import MEDIA, Item, Split

ITEMS = "items.jsonl"
TASK = "task.yaml"
TASKS = "tasks.yaml"
SPLIT = "kingyo_split"
Files = dict[str, str | bytes]
"""File name -> content."""


def write_tasks(specs: Mapping[str, TaskSpec], folder: Path, splits: Mapping[Split, Sequence[Item]]) -> Files:
    """Return the files of a run's tasks, name -> content.

    One task has the files of ``write_task``. Several have ``task-NAME.yaml`` and ``items-NAME.jsonl`` each,
    listed in ``tasks.yaml``.

    Raises:
        KingyoError: see ``write_task``.
    """
    if len(specs) == 1:
        return write_task(next(iter(specs.values())), folder, splits)
    files: Files = _media(splits)
    code: dict[str, str] = {}
    for name, spec in specs.items():
        task, items = f"task-{name}.yaml", f"items-{name}.jsonl"
        values, lines = _contents(spec, folder, splits_of(name, specs, splits), code)
        files |= {task: _yaml(values | {"data": items}), items: lines}
    return {TASKS: _yaml({"tasks": {name: f"task-{name}.yaml" for name in specs}}), **files, **code}


def write_task(spec: TaskSpec, folder: Path, splits: Mapping[Split, Sequence[Item]]) -> Files:
    """Return the files of a task: spec, items, media and the user's code.

    Args:
        spec: task of the run.
        folder: start of its relative paths.
        splits: stored items.

    Raises:
        KingyoError: a grader's file cannot be read, or two different files have the same name.
    """
    code: dict[str, str] = {}
    values, lines = _contents(spec, folder, splits, code)
    return {TASK: _yaml(values), ITEMS: lines, **code, **_media(splits)}


def _media(splits: Mapping[Split, Sequence[Item]]) -> Files:
    """Return the image files under the names that items use."""
    media = (image for items in splits.values() for item in items for image in item.media)
    return {f"{MEDIA}/{image.name}": image.read() for image in dict.fromkeys(media)}


def _contents(
    spec: TaskSpec, folder: Path, splits: Mapping[Split, Sequence[Item]], code: dict[str, str]
) -> tuple[dict[str, object], str]:
    """Return the spec's YAML values and the lines of its items; add the user's files to ``code``."""
    settings = settings_of(spec, folder)
    values: dict[str, object] = spec.model_dump(mode="json", exclude_none=True)
    values |= TypeAdapter(type(settings)).dump_python(settings, mode="json", exclude_none=True)
    if "weight" not in spec.model_fields_set:
        del values["weight"]
    if isinstance(settings, TextSettings):
        values |= {"answer": settings.answer, "grader": _move_graders(settings.grader, folder, code)}
    column = _column(spec, splits)
    sizes = {split: len(items) for split, items in splits.items()}
    split_spec: dict[str, object] = (
        {**sizes, "seed": spec.splits.seed} if column is None else {"column": column}
    )
    if spec.splits.share_images:
        split_spec["share_images"] = True
    values |= {"data": ITEMS, "splits": split_spec}
    if spec.kind is not None:
        values["kind"] = _move(spec.kind, folder, code)
    rows = [
        _row(settings, item) | ({} if column is None else {column: split})
        for split, items in splits.items()
        for item in items
    ]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    return values, lines


def _column(spec: TaskSpec, splits: Mapping[Split, Sequence[Item]]) -> str | None:
    """Return the column that records the splits; None if the sizes determine them."""
    items = [item for own in splits.values() for item in own]
    groups = near_groups(items, share_images=spec.splits.share_images)
    has_near = spec.splits.similar is not None or len(groups) < len(items)
    return spec.splits.column or (SPLIT if has_near else None)


def _yaml(values: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _row(settings: object, item: Item) -> dict[str, object]:
    """Return the row of an item; choices, which are stored as text, become lists."""
    row: dict[str, object] = dict(item.fields)
    if isinstance(settings, TextSettings) and settings.choices is not None:
        row[settings.choices] = list(item.choices)
    if isinstance(settings, TextSettings) and settings.answer is not None:
        row[settings.answer] = item.answer
    return row


def _move_graders(
    grader: GraderSpec | list[GraderSpec], folder: Path, code: dict[str, str]
) -> GraderSpec | list[GraderSpec]:
    if isinstance(grader, list):
        return [_move_grader(part, folder, code) for part in grader]
    return _move_grader(grader, folder, code)


def _move_grader(grader: GraderSpec, folder: Path, code: dict[str, str]) -> GraderSpec:
    if isinstance(grader, str):
        return _move(grader, folder, code)
    return {_move(name, folder, code): option for name, option in grader.items()}


def _move(name: str, folder: Path, code: dict[str, str]) -> str:
    """Return the name of an object in a user's file after the file is copied beside the task."""
    if not is_in_file(name):
        return name
    file, _, inner = name.rpartition(":")
    source = folder / file
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KingyoError(
            str(source),
            expected="the file of a grader",
            received=str(error),
            remedy="Restore the file as UTF-8.",
        ) from error
    if code.setdefault(source.name, text) != text:
        raise KingyoError(
            "grader",
            expected="files with unique names",
            received=f"two different files called {source.name}",
            remedy="Rename one of them; both are copied into one folder.",
        )
    return f"{source.name}:{inner}"
