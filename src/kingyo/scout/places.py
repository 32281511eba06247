"""Find candidates: in folders, in lists of names, and on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.core.io.model_names import HUB_NAME, is_local, local_path, split_revision
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS
from kingyo.merging.checkpoints.folder_files import PICKLED
from kingyo.merging.checkpoints.model_reference import parse_reference
from kingyo.scout.on_hub import FOLDER_OR_MODEL, NoSuchModelError, describe_model, list_models
from kingyo.scout.place import Place, broken, hub_place, json_object, local_place, match_any

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

MAX_DEPTH = 3
_MARKS = (PIPELINE, CONFIG, DIFFUSERS_WEIGHTS)
"""Files that only a model's folder has."""
_WEIGHTS = ("*.safetensors", "*.gguf", *PICKLED)
_CONFIG_KEYS = ("model_type", "_class_name", "architectures")


def find_places(
    where: Iterable[str],
    queries: Iterable[str] = (),
    limit: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Place]:
    """Return all candidates, each once.

    Args:
        where: folders, names on the Hub, and lists of them (``@list.txt`` or a ``.txt`` file).
        queries: tags of models of the Hub.
        limit: most models of each query.
        notify: called with a sentence about each query that may have more.

    Raises:
        KingyoError: one of ``where`` does not exist, a list cannot be read, or the Hub does not answer a
            query. A name in a list that does not exist is a place with an error.
    """
    found: dict[object, Place] = {}
    names = ((name, written) for written in where for name in _listed(written))
    places = [place for name, written in names for place in _checked(name, written)]
    for query in queries:
        _check_is_written("--hub", query, "a tag, such as base_model:finetune:org/name")
        listed = [_described(info) for info in list_models(query, limit)]
        if len(listed) == limit:
            notify(f"--hub {query}: only the first {limit} models are read; pass --limit for more.")
        places += listed
    for place in places:
        key = local_path(place.name).resolve() if place.is_local else place.name
        found.setdefault((key, place.on), place)
    return list(found.values())


def _check_is_written(argument: str, text: str, expected: str) -> None:
    if not text.strip():
        remedy = "Write one, or remove the empty argument."
        raise KingyoError(argument, expected=expected, received="an empty text", remedy=remedy)


def _described(info: ModelInfo) -> Place:
    try:
        return hub_place(info)
    except Exception as error:  # noqa: BLE001 - whatever a card may hold, it must not end the scan
        return Place(name=info.id, error=broken(info.id, error))


def _listed(written: str) -> list[str]:
    """Return the names in a list; a name that is no list is returned alone."""
    _check_is_written("WHERE", written, "a folder, a name on the Hub, or a list")
    file = Path(written.removeprefix("@"))
    if not written.startswith("@") and not (file.suffix == ".txt" and file.is_file()):
        return [written]
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise KingyoError(
            written,
            expected="a text file with one name per line",
            received=f"{error!s:.200}",
            remedy="Correct the name of the list, or save it as UTF-8.",
        ) from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _checked(name: str, written: str) -> Iterator[Place]:
    for place in _named(name):
        if isinstance(place.error, NoSuchModelError) and name == written:
            raise place.error
        yield place


def _named(name: str) -> Iterator[Place]:
    try:
        if is_local(name) and local_path(name).is_dir():
            yield from _below(name, 0)
            return
        parsed = parse_reference(name)
        if parsed.lora is not None:
            found = list(_named(parsed.lora))
            adapter = found[0] if len(found) == 1 else Place(name=parsed.lora)
            yield replace(adapter, is_adapter=True, on=str(parsed.base))
        elif HUB_NAME.fullmatch(parsed.model) and not is_local(name):
            yield hub_place(describe_model(*_repository(name)), name)
        elif is_local(parsed.model):
            yield Place(name=name)
        else:
            remedy = "Correct the path, or write a name on the Hub as org/name."
            received = "no such folder or file"
            raise NoSuchModelError(name, expected=FOLDER_OR_MODEL, received=received, remedy=remedy)
    except Exception as error:  # noqa: BLE001
        yield Place(name=name, error=broken(name, error))


def _below(name: str, depth: int) -> Iterator[Place]:
    """Yield the models in a folder. A folder that is a model is not searched further."""
    folder = local_path(name)
    try:
        if is_model(folder, is_named=depth == 0):
            yield local_place(name)
            return
        inner = sorted(_inside(folder)) if depth < MAX_DEPTH else []
    except Exception as error:  # noqa: BLE001
        yield Place(name=name, error=broken(name, error))
        return
    for each in inner:
        if not each.startswith("."):
            yield from _below((Path(name) / each).as_posix(), depth + 1)


def _inside(folder: Path) -> Iterator[str]:
    """Yield the names of the folders in a folder, without links to a folder around it."""
    for each in folder.iterdir():
        if each.is_dir() and not folder.resolve().is_relative_to(each.resolve()):
            yield each.name


def is_model(folder: Path, *, is_named: bool = True) -> bool:
    """Return whether a folder holds a model, a pipeline or an adapter.

    ``is_named`` says that the user means this folder, so that a config.json is enough.
    """
    names = [each.name for each in folder.iterdir()]
    if any(mark in names for mark in _MARKS) or "config.json" not in names:
        return any(mark in names for mark in _MARKS) or match_any(
            names, ("*.gguf", *PICKLED, "model*.safetensors")
        )
    return (
        is_named
        or match_any(names, _WEIGHTS)
        or any(key in json_object(folder / "config.json") for key in _CONFIG_KEYS)
    )


def _repository(name: str) -> tuple[str, str | None]:
    """Split a name on the Hub into that of the repository, without a component, and the revision."""
    model, revision = split_revision(name)
    matched = HUB_NAME.fullmatch(model)
    return model if matched is None else matched["name"], revision
