"""Describe a candidate without its headers: from its card and config, or from what the Hub says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kingyo.core.io.model_names import HUB_NAME, is_local, local_path, split_revision
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE
from kingyo.merging.checkpoints.folder_files import PICKLED
from kingyo.merging.checkpoints.model_reference import with_denoiser
from kingyo.merging.lineage import read_front_matter
from kingyo.scout.candidate import NO_CARD, CardFacts

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo


@dataclass(frozen=True, kw_only=True)
class Place:
    """A candidate before its headers are read.

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
    card: CardFacts = NO_CARD
    claimed_base: str | None = None
    only_pickles: bool = False
    error: KingyoError | None = None

    @property
    def is_local(self) -> bool:
        """Return whether it is on this machine."""
        return is_local(self.name)


def broken(name: str, error: Exception) -> KingyoError:
    """Return the error of a candidate that cannot be read."""
    if isinstance(error, KingyoError):
        return error
    what = f"{type(error).__name__}: {error!s:.200}"
    return KingyoError(name, expected="a model", received=what, remedy="Fetch or save it again.")


def local_place(name: str) -> Place:
    """Describe a model in a folder from its card and its config."""
    folder = local_path(name)
    if (folder / PIPELINE).is_file() and not (folder / "config.json").is_file():
        name = with_denoiser(name)
    weights = local_path(name)
    files = [each.name for each in weights.iterdir()] if weights.is_dir() else []
    is_adapter = "config.json" not in files and (CONFIG in files or DIFFUSERS_WEIGHTS in files)
    home = weights.parent if (weights.parent / PIPELINE).is_file() else weights
    card = CardFacts.read(read_front_matter(home / "README.md"))
    config = json_object(weights / (CONFIG if is_adapter else "config.json"))
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
    card = CardFacts.read({} if info.card_data is None else info.card_data.to_dict(), changed)
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


def _claim(card: CardFacts, config: Mapping[str, object], *, is_adapter: bool) -> str | None:
    """Return the base that a model names; a card with several is that of a merge, and does not count."""
    stated = config.get("base_model_name_or_path" if is_adapter else "_name_or_path")
    of_config = stated if isinstance(stated, str) and stated.strip() else None
    of_card = card.bases[0] if len(card.bases) == 1 else None
    return (of_config or of_card) if is_adapter else (of_card or of_config)


def _only_pickles(files: Sequence[str]) -> bool:
    has_safe = any(name.endswith((".safetensors", ".safetensors.index.json")) for name in files)
    return not has_safe and match_any(files, (*PICKLED, PICKLE))


def match_any(names: Iterable[str], patterns: Sequence[str]) -> bool:
    """Return whether one of the names matches one of the patterns."""
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def json_object(file: Path) -> Mapping[str, object]:
    """Return the object in a JSON file; empty if there is none."""
    with suppress(OSError, ValueError, RecursionError):
        parsed: Any = json.loads(file.read_text(encoding="utf-8"))
        return cast("Mapping[str, object]", parsed) if isinstance(parsed, dict) else {}
    return {}
