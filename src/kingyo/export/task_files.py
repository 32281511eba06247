"""Files of a run's tasks and graders for an exported folder, so that the model can be scored again.

A column of the items records their splits.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from kingyo.core.io.model_names import absolute_name
from kingyo.core.types import MEDIA, Item, Split
from kingyo.core.user_code.versions import deciding_files
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.model_reference import path_from
from kingyo.registry import is_in_file
from kingyo.tasks import GradedSettings, TaskSpec, TextSettings, settings_of, splits_of
from kingyo.tasks.spec import move_paths

ITEMS = "items.jsonl"
TASK = "task.yaml"
TASKS = "tasks.yaml"
SPLIT = "kingyo_split"
GRADERS = "graders"
MOST_COPIED = 10_000_000  # bytes of a file or folder
Files = dict[str, str | bytes]
"""File name -> content."""


def write_tasks(
    specs: Mapping[str, TaskSpec], folder: Path, out: Path, splits: Mapping[Split, Sequence[Item]]
) -> Files:
    """Return the files of a run's tasks, name -> content: specs, items, media, code and graders' files.

    One task is ``task.yaml`` with ``items.jsonl``. Several have ``task-NAME.yaml`` and ``items-NAME.jsonl``
    each, listed in ``tasks.yaml``. Relative paths of the tasks start at ``folder``.
    """
    media = dict.fromkeys(each for items in splits.values() for item in items for each in item.media)
    files: Files = {f"{MEDIA}/{each.name}": each.read() for each in media}
    code, graders = dict[str, str](), GraderFiles(folder, out)
    for name, given in specs.items():
        spec = given.model_copy(update=move_paths(given, folder, graders.place))
        task, items = (TASK, ITEMS) if len(specs) == 1 else (f"task-{name}.yaml", f"items-{name}.jsonl")
        column, own = spec.splits.column or SPLIT, splits_of(name, specs, splits)
        chosen = {"column": column, **({"share_images": True} if spec.splits.share_images else {})}
        values = {**_values(spec, folder, code), "data": items, "splits": chosen}
        files |= {task: _yaml(values), items: _lines(settings_of(spec, folder), own, column)}
    if len(specs) > 1:
        files[TASKS] = _yaml({"tasks": {name: f"task-{name}.yaml" for name in specs}})
    return files | code | graders.files


def _values(spec: TaskSpec, folder: Path, code: dict[str, str]) -> dict[str, object]:
    settings = settings_of(spec, folder)
    if isinstance(settings, GradedSettings):
        settings = settings.of_stored_items()  # for the rows that ``_lines`` writes
    values: dict[str, object] = spec.model_dump(mode="json", exclude_none=True, exclude=set(spec.options))
    values |= TypeAdapter(type(settings)).dump_python(settings, mode="json", exclude_none=True)
    if "weight" not in spec.model_fields_set:
        del values["weight"]
    if isinstance(settings, TextSettings):
        values["answer"] = settings.answer
    if isinstance(settings, GradedSettings):
        graders = [
            _move(name, folder, code) if option is None else {_move(name, folder, code): option}
            for name, option in settings.graders
        ]
        values["grader"] = graders[0] if len(graders) == 1 else graders
    if spec.kind is not None:
        values["kind"] = _move(spec.kind, folder, code)
    return values


def _lines(settings: object, splits: Mapping[Split, Sequence[Item]], column: str) -> str:
    lines: list[str] = []
    for split, items in splits.items():
        for item in items:
            row: dict[str, object] = dict(item.fields)
            if isinstance(settings, TextSettings) and settings.choices is not None:
                row[settings.choices] = list(item.choices)
            if isinstance(settings, TextSettings) and settings.answer is not None:
                row[settings.answer] = item.answer
            lines.append(f"{json.dumps(row | {column: split}, ensure_ascii=False)}\n")
    return "".join(lines)


def _yaml(values: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _move(name: str, folder: Path, code: dict[str, str]) -> str:
    if not is_in_file(name):
        return name
    file, _, inner = name.rpartition(":")
    source = folder / file
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise KingyoError(
            str(source), "a Python file in UTF-8", str(error), "Save the file in UTF-8."
        ) from error
    if code.setdefault(source.name, text) != text:
        expected = "files with unique names"
        remedy = "Rename one of them; both are copied into one folder."
        raise KingyoError("grader", expected, f"two different files called {source.name}", remedy)
    return f"{source.name}:{inner}"


class GraderFiles:
    """Places of what graders use: small files and folders are copied, larger ones stay where they are."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.files: dict[str, bytes] = {}
        self._folder = folder
        self._out = out
        self._places: dict[Path, str] = {}

    def place(self, path: str) -> str:
        """Return a path as the exported task writes it: relative to ``out`` if possible."""
        source = Path(absolute_name(path, self._folder))
        if source not in self._places:
            is_small = sum(each.stat().st_size for each in deciding_files(source)) <= MOST_COPIED
            self._places[source] = self._copied(source) if is_small else self._elsewhere(path, source)
        return self._places[source]

    def _copied(self, source: Path) -> str:
        used, number = set(self._places.values()), 1
        while (name := f"{GRADERS}/{'' if number == 1 else f'{number}-'}{source.name}") in used:
            number += 1
        for file in deciding_files(source):
            inner = "" if file == source else f"/{file.relative_to(source).as_posix()}"
            self.files[f"{name}{inner}"] = file.read_bytes()
        return name

    def _elsewhere(self, path: str, source: Path) -> str:
        place = path_from(self._out, path, self._folder)
        return str(source) if place == path else place
