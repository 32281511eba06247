"""Find and replace the paths in a task's options: models of graders, and reference pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TypeVar, cast

from kingyo.errors import KingyoError
from kingyo.io.model_names import is_local, local_path
from kingyo.registry import Registry
from kingyo.tasks.task_kinds import settings_class

T = TypeVar("T")
Place = Callable[[str], str]
"""Returns what to write in place of an existing path."""


def move_paths(kind: str, options: Mapping[str, object], folder: Path, place: Place) -> dict[str, object]:
    """Return the options of a task with other paths.

    Its kind's ``Settings`` name the options that are paths, see ``move_own_paths``, and a registry of graders
    in ``grader_registry``, whose classes name options of their own.

    Args:
        kind: the kind of task.
        options: its keys in the YAML.
        folder: base of relative paths.
        place: called with every path that exists; names on the Hub stay.
    """

    def placed(value: str) -> str:
        return place(value) if is_local(value, folder) else value

    settings = _or_none(lambda: settings_class(kind, folder))
    changed = move_own_paths(settings, options, placed)
    registry = cast("Registry[Callable[..., object]] | None", getattr(settings, "grader_registry", None))
    if registry is not None and "grader" in changed:
        changed["grader"] = _in_graders(changed["grader"], registry, folder, placed)
    return changed


def move_own_paths(kind: object, options: Mapping[str, object], place: Place) -> dict[str, object]:
    """Return the options of a grader or a kind of task with other paths.

    Args:
        kind: its class, or an instance. ``paths`` names the options that are paths, where
            ``references.folder`` is one in a mapping; ``known_names`` lists values of them that are not.
        options: by name.
        place: called with every value of these options.
    """
    known = cast("Sequence[str]", getattr(kind, "known_names", ()))

    def placed(value: object) -> object:
        return place(value) if isinstance(value, str) and value and value not in known else value

    changed = dict(options)
    for path in cast("Sequence[str]", getattr(kind, "paths", ())):
        _change(changed, path.split("."), placed)
    return changed


def option_values(kind: object, option: object) -> Mapping[str, object]:
    """Return what the YAML gives a grader as a mapping: a value alone is that of the first option."""
    if isinstance(option, Mapping):
        return cast("Mapping[str, object]", option)
    own = fields(kind) if isinstance(kind, type) and is_dataclass(kind) else ()
    first = next((field.name for field in own), "option")
    return {} if option is None else {first: option}


def _change(options: dict[str, object], keys: Sequence[str], placed: Callable[[object], object]) -> None:
    """Replace one value in nested mappings; copy the mappings around it."""
    first, *rest = keys
    value = options.get(first)
    if rest and isinstance(value, Mapping):
        inner = dict(cast("Mapping[str, object]", value))
        _change(inner, rest, placed)
        options[first] = inner
    elif not rest and first in options:
        options[first] = placed(value)


def _in_graders(
    grader: object, registry: Registry[Callable[..., object]], folder: Path, place: Place
) -> object:
    if isinstance(grader, list):
        return [_in_graders(each, registry, folder, place) for each in cast("list[object]", grader)]
    if not isinstance(grader, Mapping):
        return grader
    changed = dict(cast("Mapping[str, object]", grader))
    for name, option in changed.items():
        kind = _or_none(lambda name=name: registry.get(name, folder))
        values = move_own_paths(kind, option_values(kind, option), place)
        changed[name] = values if isinstance(option, Mapping) else next(iter(values.values()), None)
    return changed


def _or_none(find: Callable[[], T]) -> T | None:
    """Return what ``find`` returns; None for an unknown name or a broken file, which are reported later."""
    try:
        return find()
    except KingyoError:
        return None


def named_paths(kind: str, options: Mapping[str, object], folder: Path) -> list[Path]:
    """Return the existing files and folders that a task names; see ``move_paths``."""
    named: list[str] = []

    def noted(path: str) -> str:
        named.append(path)
        return path

    move_paths(kind, options, folder, noted)
    return [local_path(path, folder) for path in dict.fromkeys(named)]
