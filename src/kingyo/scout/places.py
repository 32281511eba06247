"""Find candidates in folders and on the Hub, and describe them without their headers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kingyo.core.io.model_names import HUB_NAME, is_local, local_path, split_revision
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE
from kingyo.merging.checkpoints.folder_files import PICKLED
from kingyo.merging.checkpoints.model_reference import parse_reference, with_denoiser
from kingyo.merging.lineage import read_front_matter
from kingyo.scout.candidate import CardFacts
from kingyo.scout.on_hub import FOLDER_OR_MODEL, NoSuchModelError, describe_model, list_models

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

MAX_DEPTH = 3
HUB_TAG = "hub:"
"""What a tag of the Hub begins with among the places to look."""
MOST_TAGGED = 200  # models of one tag
_MARKS = (PIPELINE, CONFIG, DIFFUSERS_WEIGHTS)
"""Files that only a model's folder has."""
_WEIGHTS = ("*.safetensors", "*.gguf", *PICKLED)
_CONFIG_KEYS = ("model_type", "_class_name", "architectures")
_NO_CARD = CardFacts()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A candidate before its headers are read.

    Attributes:
        name: its reference without a model before it: a folder, a file, or a name on the Hub.
        on: for a LoRA, the model that the user wrote before it.
        claimed_base: the base that its card or config names.
        error: why nothing is known of it.
    """

    name: str
    is_adapter: bool = False
    on: str | None = None
    card: CardFacts = _NO_CARD
    claimed_base: str | None = None
    only_pickles: bool = False
    error: KingyoError | None = None

    @property
    def is_local(self) -> bool:
        return is_local(self.name)


def broken(name: str, error: Exception) -> KingyoError:
    """Return the error of a candidate that cannot be read."""
    if isinstance(error, KingyoError):
        return error
    what = f"{type(error).__name__}: {error!s:.200}"
    return KingyoError(name, expected="a model", received=what, remedy="Fetch or save it again.")


def find_places(where: Iterable[str]) -> list[Place]:
    """Return all candidates in folders, by names on the Hub and by its tags (``hub:TAG``), each once."""
    found: dict[object, Place] = {}
    for name in where:
        tag = name.removeprefix(HUB_TAG)
        for place in _named(name) if tag == name else _tagged(tag):
            if isinstance(place.error, NoSuchModelError):
                raise place.error
            key = local_path(place.name).resolve() if place.is_local else place.name
            found.setdefault((key, place.on), place)
    return list(found.values())


def _tagged(tag: str) -> Iterator[Place]:
    for info in list_models(tag, MOST_TAGGED):
        try:
            yield hub_place(info, info.id)
        except Exception as error:  # noqa: BLE001 - whatever a card may hold, it must not end the scan
            yield Place(name=info.id, error=broken(info.id, error))


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
        elif (hub := HUB_NAME.fullmatch(parsed.model)) and not is_local(name):
            yield hub_place(describe_model(hub["name"], split_revision(name)[1]), name)
        elif is_local(parsed.model):
            yield Place(name=name)
        else:
            remedy = "Correct the path, or write a name on the Hub as org/name."
            raise NoSuchModelError(name, FOLDER_OR_MODEL, "no such folder or file", remedy)
    except Exception as error:  # noqa: BLE001
        yield Place(name=name, error=broken(name, error))


def _below(name: str, depth: int) -> Iterator[Place]:
    """Yield the models in a folder. A folder that is a model is not searched further."""
    folder = local_path(name)
    try:
        if is_model(folder, is_named=depth == 0):
            yield local_place(name)
            return
        inner = [each for each in folder.iterdir() if each.is_dir()] if depth < MAX_DEPTH else []
        here = folder.resolve()
        names = sorted(each.name for each in inner if not here.is_relative_to(each.resolve()))
    except Exception as error:  # noqa: BLE001
        yield Place(name=name, error=broken(name, error))
        return
    for each in names:
        if not each.startswith("."):
            yield from _below((Path(name) / each).as_posix(), depth + 1)


def is_model(folder: Path, *, is_named: bool = True) -> bool:
    """Return whether a folder holds a model, a pipeline or an adapter.

    ``is_named`` says that the user means this folder, so that a config.json is enough.
    """
    names = [each.name for each in folder.iterdir()]
    if any(mark in names for mark in _MARKS):
        return True
    if "config.json" not in names:
        return _match_any(names, ("*.gguf", *PICKLED, "model*.safetensors"))
    return (
        is_named
        or _match_any(names, _WEIGHTS)
        or any(key in _json_object(folder / "config.json") for key in _CONFIG_KEYS)
    )


def local_place(name: str) -> Place:
    """Describe a model in a folder from its card and its config."""
    folder = local_path(name)
    if (folder / PIPELINE).is_file() and not (folder / "config.json").is_file():
        name = with_denoiser(name)
    weights = local_path(name)
    files = [each.name for each in weights.iterdir()] if weights.is_dir() else []
    home = weights.parent if (weights.parent / PIPELINE).is_file() else weights
    card = CardFacts.read(read_front_matter(home / "README.md"))
    is_adapter = _is_adapter(files)
    config = _json_object(weights / (CONFIG if is_adapter else "config.json"))
    return _place(name, files, card, config, is_adapter=is_adapter)


def hub_place(info: ModelInfo, name: str) -> Place:
    """Describe a model from what the Hub says of it; ``name`` may have a component and a revision."""
    files = [each.rfilename for each in info.siblings or ()]
    card = CardFacts.read({} if info.card_data is None else info.card_data.to_dict())
    config = cast("Mapping[str, object]", info.config or {})  # pyright: ignore[reportUnknownMemberType]
    is_adapter = _is_adapter(files)
    if is_adapter:
        config = cast("Mapping[str, object]", config.get("peft") or {})
    if PIPELINE in files and "config.json" not in files:
        repository, revision = split_revision(name)
        whole = HUB_NAME.fullmatch(repository)
        component = None if whole is None else whole["component"]
        if not component:
            component = next((each for each in DENOISERS if f"{each}/config.json" in files), None)
            if component is not None and whole is not None:
                name = f"{repository}/{component}{'' if revision is None else f'@{revision}'}"
        files = files if component is None else [each.removeprefix(f"{component}/") for each in files]
    return _place(name, [each for each in files if "/" not in each], card, config, is_adapter=is_adapter)


def _is_adapter(files: Sequence[str]) -> bool:
    return "config.json" not in files and (CONFIG in files or DIFFUSERS_WEIGHTS in files)


def _place(
    name: str, files: Sequence[str], card: CardFacts, config: Mapping[str, object], *, is_adapter: bool
) -> Place:
    """Describe a model by its files; a card with several bases is that of a merge, and does not count."""
    stated = config.get("base_model_name_or_path" if is_adapter else "_name_or_path")
    of_config = stated if isinstance(stated, str) and stated.strip() else None
    of_card = card.bases[0] if len(card.bases) == 1 else None
    has_safe = any(each.endswith((".safetensors", ".safetensors.index.json")) for each in files)
    return Place(
        name=name,
        is_adapter=is_adapter,
        card=card,
        claimed_base=(of_config or of_card) if is_adapter else (of_card or of_config),
        only_pickles=not has_safe and _match_any(files, (*PICKLED, PICKLE)),
    )


def _match_any(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _json_object(file: Path) -> Mapping[str, object]:
    with suppress(OSError, ValueError, RecursionError):
        parsed: Any = json.loads(file.read_text(encoding="utf-8"))
        return cast("Mapping[str, object]", parsed) if isinstance(parsed, dict) else {}
    return {}
