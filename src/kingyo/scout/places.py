"""Find candidates: in folders, in lists of names, and on the Hub. Cards and configs are read, no headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kingyo.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE
from kingyo.checkpoints.folder_files import PICKLED
from kingyo.checkpoints.model_reference import parse_reference, with_denoiser
from kingyo.errors import KingyoError
from kingyo.io.model_names import HUB_NAME, is_local, local_path, split_revision
from kingyo.io.pipeline_index import DENOISERS, PIPELINE
from kingyo.lineage.origins import read_front_matter
from kingyo.scout.candidate import NO_CARD, Card
from kingyo.scout.on_hub import describe_model, list_models

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

MAX_DEPTH = 3
_MARKS = (PIPELINE, CONFIG, DIFFUSERS_WEIGHTS)
"""Files that only a model's folder has."""
_WEIGHTS = ("*.safetensors", "*.gguf", *PICKLED)
_CONFIG_KEYS = ("model_type", "_class_name", "architectures")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a candidate is, and what is known without its headers.

    Attributes:
        name: its reference without a model before it: a folder, a file, or a name on the Hub.
        on: for a LoRA, the model that the user wrote before it.
        claimed_base: the base that its card or config names.
        only_pickles: whether its weights exist only as pickles.
        error: why nothing is known of it.
    """

    name: str
    is_adapter: bool = False
    on: str | None = None
    card: Card = NO_CARD
    claimed_base: str | None = None
    only_pickles: bool = False
    error: KingyoError | None = None

    @property
    def is_local(self) -> bool:
        """Return whether it is on this machine."""
        return is_local(self.name)


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
        KingyoError: a list cannot be read, or the Hub does not answer a query.
    """
    found: dict[object, Place] = {}
    names = (name for written in where for name in _listed(written))
    places = [place for name in names for place in _named(name)]
    for query in queries:
        listed = [_described(info) for info in list_models(query, limit)]
        if len(listed) == limit:
            notify(f"--hub {query}: only the first {limit} models are read; pass --limit for more.")
        places += listed
    for place in places:
        key = local_path(place.name).resolve() if place.is_local else place.name
        found.setdefault((key, place.on), place)
    return list(found.values())


def _described(info: ModelInfo) -> Place:
    try:
        return hub_place(info)
    except Exception as error:  # noqa: BLE001 - whatever a card may hold, it must not end the scan
        return Place(name=info.id, error=broken(info.id, error))


def _listed(written: str) -> list[str]:
    """Return the names in a list; a name that is no list is returned alone."""
    file = Path(written.removeprefix("@"))
    if not written.startswith("@") and not (file.suffix == ".txt" and file.is_file()):
        return [written]
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise KingyoError(
            written,
            expected="a text file with one name per line",
            received=f"{error!s:.200}",
            remedy="Correct the name of the list.",
        ) from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _named(name: str) -> Iterator[Place]:
    try:
        if is_local(name) and local_path(name).is_dir():
            yield from _below(name, 0)
            return
        parsed = parse_reference(name)
        if parsed.lora is not None:
            (adapter,) = list(_named(parsed.lora)) or [Place(name=parsed.lora)]
            yield replace(adapter, is_adapter=True, on=str(parsed.base))
        elif HUB_NAME.fullmatch(parsed.model) and not is_local(name):
            yield hub_place(describe_model(*_repository(name)), name)
        else:
            yield Place(name=name)
    except Exception as error:  # noqa: BLE001
        yield Place(name=name, error=broken(name, error))


def broken(name: str, error: Exception) -> KingyoError:
    """Return the error of a candidate that cannot be read."""
    if isinstance(error, KingyoError):
        return error
    what = f"{type(error).__name__}: {error!s:.200}"
    return KingyoError(name, expected="a model", received=what, remedy="Fetch or save it again.")


def _below(name: str, depth: int) -> Iterator[Place]:
    """Yield the models in a folder. A folder that is a model is not searched further."""
    folder = local_path(name)
    try:
        if is_model(folder, is_named=depth == 0):
            yield local_place(name)
            return
        inner = sorted(each.name for each in folder.iterdir() if each.is_dir()) if depth < MAX_DEPTH else []
    except Exception as error:  # noqa: BLE001
        yield Place(name=name, error=broken(name, error))
        return
    for each in inner:
        if not each.startswith("."):
            yield from _below((Path(name) / each).as_posix(), depth + 1)


def is_model(folder: Path, *, is_named: bool = True) -> bool:
    """Return whether a folder holds a model, a pipeline or an adapter.

    ``is_named`` says that the user means this folder, so that a config.json is enough.
    """
    names = [each.name for each in folder.iterdir()]
    if any(mark in names for mark in _MARKS) or "config.json" not in names:
        return any(mark in names for mark in _MARKS) or _any(
            names, ("*.gguf", *PICKLED, "model*.safetensors")
        )
    return (
        is_named or _any(names, _WEIGHTS) or any(key in _json(folder / "config.json") for key in _CONFIG_KEYS)
    )


def local_place(name: str) -> Place:
    """Describe a model in a folder from its card and its config."""
    folder = local_path(name)
    if (folder / PIPELINE).is_file() and not (folder / "config.json").is_file():
        name = with_denoiser(name)
    weights = local_path(name)
    files = [each.name for each in weights.iterdir()] if weights.is_dir() else []
    is_adapter = "config.json" not in files and (CONFIG in files or DIFFUSERS_WEIGHTS in files)
    home = weights.parent if (weights.parent / PIPELINE).is_file() else weights
    card = Card.read(read_front_matter(home / "README.md"), _date(home, weights))
    config = _json(weights / (CONFIG if is_adapter else "config.json"))
    return Place(
        name=name,
        is_adapter=is_adapter,
        card=card,
        claimed_base=_claim(card, config, is_adapter=is_adapter),
        only_pickles=_only_pickles(files),
    )


def hub_place(info: ModelInfo, name: str | None = None) -> Place:
    """Describe a model from what the Hub says of it; ``name`` may add a component and a revision."""
    files = [each.rfilename for each in info.siblings or ()]
    changed = None if info.last_modified is None else info.last_modified.date().isoformat()
    card = Card.read({} if info.card_data is None else info.card_data.to_dict(), changed)
    config = cast("Mapping[str, object]", info.config or {})  # pyright: ignore[reportUnknownMemberType]
    is_adapter = "config.json" not in files and (CONFIG in files or DIFFUSERS_WEIGHTS in files)
    name = name or info.id
    component = _component(files, name)
    if component is not None:
        repository, revision = split_revision(name)
        whole = HUB_NAME.fullmatch(repository)
        is_whole = whole is not None and whole["component"] is None
        at = "" if revision is None else f"@{revision}"
        name = f"{repository}/{component}{at}" if is_whole else name
        files = [each.removeprefix(f"{component}/") for each in files]
    peft = cast("Mapping[str, object]", config.get("peft") or {})
    return Place(
        name=name,
        is_adapter=is_adapter,
        card=card,
        claimed_base=_claim(card, peft if is_adapter else config, is_adapter=is_adapter),
        only_pickles=_only_pickles([each for each in files if "/" not in each]),
    )


def _component(files: Sequence[str], name: str) -> str | None:
    """Return the component of a pipeline that is merged; None for other models."""
    if PIPELINE not in files or "config.json" in files:
        return None
    whole = HUB_NAME.fullmatch(split_revision(name)[0])
    if whole is not None and whole["component"]:
        return whole["component"]
    return next((each for each in DENOISERS if f"{each}/config.json" in files), None)


def _repository(name: str) -> tuple[str, str | None]:
    """Split a name on the Hub into that of the repository, without a component, and the revision."""
    model, revision = split_revision(name)
    matched = HUB_NAME.fullmatch(model)
    return model if matched is None else matched["name"], revision


def _claim(card: Card, config: Mapping[str, object], *, is_adapter: bool) -> str | None:
    """Return the base that a model names; a card with several is that of a merge, and does not count."""
    stated = config.get("base_model_name_or_path" if is_adapter else "_name_or_path")
    of_config = stated if isinstance(stated, str) and stated.strip() else None
    of_card = card.bases[0] if len(card.bases) == 1 else None
    return (of_config or of_card) if is_adapter else (of_card or of_config)


def _only_pickles(files: Sequence[str]) -> bool:
    has_safe = any(name.endswith((".safetensors", ".safetensors.index.json")) for name in files)
    return not has_safe and _any(files, (*PICKLED, PICKLE))


def _date(home: Path, weights: Path) -> str | None:
    """Return the day on which the card, or else the newest file, was written."""
    with suppress(OSError):
        card = home / "README.md"
        files = [card] if card.is_file() else [each for each in weights.iterdir() if each.is_file()]
        newest = max(each.stat().st_mtime for each in files)
        return datetime.fromtimestamp(newest, UTC).date().isoformat()
    return None


def _any(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _json(file: Path) -> Mapping[str, object]:
    """Return the object in a JSON file; empty if there is none."""
    with suppress(OSError, ValueError, RecursionError):
        parsed: Any = json.loads(file.read_text(encoding="utf-8"))
        return cast("Mapping[str, object]", parsed) if isinstance(parsed, dict) else {}
    return {}
