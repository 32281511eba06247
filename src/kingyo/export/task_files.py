"""The task of a run as files beside the exported model: whoever has the folder can score it again.

Splits are cut by a hash of the items, so the stored items with the stored sizes give the very same splits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from kingyo.errors import KingyoError
from kingyo.registry import is_in_file
from kingyo.tasks import TaskSpec
from kingyo.tasks.spec import GraderSpec
from kingyo.types import Item, Split

ITEMS = "items.jsonl"
TASK = "task.yaml"


def write_task(spec: TaskSpec, folder: Path, splits: Mapping[Split, Sequence[Item]]) -> dict[str, str]:
    """Return the task's files, name -> content: spec, items, and the user's own graders if there are any.

    Args:
        spec: the task of the run.
        folder: where its relative paths start.
        splits: the stored items.

    Raises:
        KingyoError: a grader's file cannot be read, or two of them have the same name.
    """
    code: dict[str, str] = {}
    graders = spec.grader if isinstance(spec.grader, list) else [spec.grader]
    moved = [_move_grader(each, folder, code) for each in graders]
    values = spec.model_dump(mode="json", exclude_none=True)
    values |= {
        "data": ITEMS,
        "answer": spec.answer,
        "grader": moved if isinstance(spec.grader, list) else moved[0],
        "splits": {**{split: len(items) for split, items in splits.items()}, "seed": spec.splits.seed}
        if spec.splits.column is None
        else {"column": spec.splits.column},
    }
    if spec.kind is not None:
        values["kind"] = _move(spec.kind, folder, code)
    rows = [_row(spec, item) for items in splits.values() for item in items]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    return {TASK: yaml.safe_dump(values, sort_keys=False, allow_unicode=True), ITEMS: lines, **code}


def _row(spec: TaskSpec, item: Item) -> dict[str, object]:
    """The row of an item; lists were stored as text, and come back as lists."""
    row: dict[str, object] = dict(item.fields)
    if spec.choices is not None:
        row[spec.choices] = list(item.choices)
    if spec.answer is not None:
        row[spec.answer] = item.answer
    return row


def _move_grader(grader: GraderSpec, folder: Path, code: dict[str, str]) -> GraderSpec:
    if isinstance(grader, str):
        return _move(grader, folder, code)
    return {_move(name, folder, code): option for name, option in grader.items()}


def _move(name: str, folder: Path, code: dict[str, str]) -> str:
    """The name of an object in a user's file, once the file lies beside the task."""
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
            remedy="Put the file back into its place, saved as UTF-8.",
        ) from error
    if code.setdefault(source.name, text) != text:
        raise KingyoError(
            "grader",
            expected="files with names of their own",
            received=f"two different files called {source.name}",
            remedy="Rename one of them: they are copied into one folder.",
        )
    return f"{source.name}:{inner}"
