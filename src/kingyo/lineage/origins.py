"""What is known of the models that were merged: where they are, and what their own cards say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import yaml

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.reference import HUB_NAME, PIPELINE, parse_reference, whole_model
from kingyo.engine.sources import replaced
from kingyo.recipe import Recipe

FENCE = "---"
_LONGEST = 1 << 20  # characters of a card that are read: its head is at the beginning
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One model that went into a merge.

    Attributes:
        name: what the user calls it.
        reference: as the recipe names it.
        place: its reference with whole paths of folders.
        licence: as its card says, in the Hub's words; None when it says nothing, or has no card.
        licence_name: of one that the Hub has no word for.
        languages: of its card.
        lora_licence: of its LoRA, if it has one.
        commit: which version of it was taken, if it is from the Hub.
    """

    name: str
    reference: str
    place: str
    licence: str | None
    languages: tuple[str, ...]
    licence_name: str | None = None
    lora_licence: str | None = None
    commit: str | None = None

    @property
    def public_names(self) -> tuple[str, ...]:
        """How a card may name it, then its LoRA: as the Hub does; folders by the last part of their paths."""
        return tuple(public_name(part) for part in self._places)

    @property
    def hub_names(self) -> tuple[str, ...]:
        """Those of them that are on the Hub."""
        named = (part for part in self._places if not Path(part).is_absolute())
        return tuple(found["name"] if (found := HUB_NAME.fullmatch(part)) else part for part in named)

    @property
    def _places(self) -> tuple[str, ...]:
        parsed = parse_reference(self.place)
        return tuple(part for part in (parsed.model, parsed.lora) if part is not None)

    @property
    def public_name(self) -> str:
        """Both in one."""
        return "+".join(self.public_names)

    @property
    def licences(self) -> tuple[tuple[str, str | None], ...]:
        """Public name and licence of the model, then of its LoRA."""
        stated = (self.licence_name or self.licence, self.lora_licence)
        return tuple(zip(self.public_names, stated, strict=False))


def public_name(name: str) -> str:
    """Name a file without the folders of this machine: the last part of a whole path, or what was written.

    A component of a pipeline is named with it, as ``sdxl/unet``.
    """
    path = Path(name)
    if not path.is_absolute() and not name.startswith("~"):
        return name
    return f"{path.parent.name}/{path.name}" if (path.parent / PIPELINE).is_file() else path.name


def public_recipe(recipe: Recipe, origins: Sequence[Origin]) -> Recipe:
    """The recipe as it was written, but for whole paths, of which the last part is left."""
    names = {origin.reference: origin.public_name for origin in origins}

    def place(reference: str) -> str:
        is_whole = any(public_name(part) != part for part in reference.split("+"))
        return names.get(reference, Path(reference).name) if is_whole else reference

    return replaced(replace(recipe, merge_method=public_name(recipe.merge_method)), place)


def describe(name: str, checkpoint: Checkpoint, folder: Path) -> Origin:
    """Read what a model's card says.

    Args:
        name: what the user calls it.
        checkpoint: the model.
        folder: where relative paths of references start.
    """
    place = checkpoint.pipeline or checkpoint.path
    told = read_front_matter(place / "README.md")
    lora = None
    if checkpoint.adapter is not None:
        lora_licence, lora_name = _licence(read_front_matter(checkpoint.adapter.path / "README.md"))
        lora = lora_name or lora_licence
    licence, licence_name = _licence(told)
    return Origin(
        name=name,
        reference=checkpoint.reference,
        place=whole_model(checkpoint.reference, folder),
        licence=licence,
        licence_name=licence_name,
        languages=_texts(told.get("language")),
        lora_licence=lora,
        commit=place.name if place.parent.name == "snapshots" and _COMMIT.fullmatch(place.name) else None,
    )


def read_front_matter(card: Path) -> Mapping[str, object]:
    """Read the YAML at the head of a model card; nothing when it has none, or none that can be read."""
    try:
        with card.open(encoding="utf-8") as stream:
            text = stream.read(_LONGEST)
        first, head, *_ = text.split(f"{FENCE}\n", 2)
        loaded: object = yaml.safe_load(head) if first.strip("\ufeff \n") == "" else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return cast("Mapping[str, object]", loaded) if isinstance(loaded, dict) else {}


def _licence(told: Mapping[str, object]) -> tuple[str | None, str | None]:
    """The licence of a card, and the name of one that the Hub has no word for."""
    found, named = ", ".join(_texts(told.get("license"))) or None, told.get("license_name")
    return found, named.strip() if found == "other" and isinstance(named, str) and named.strip() else None


def _texts(value: object) -> tuple[str, ...]:
    values = cast("list[object]", value if isinstance(value, list) else [value])
    return tuple(each for each in values if isinstance(each, str) and each.strip())
