"""Origins of the merged models: their places, and the licences and languages in their cards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import yaml

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.model_reference import HUB_NAME, PIPELINE, parse_reference, whole_model
from kingyo.recipe import Recipe
from kingyo.vocabulary import replaced

FENCE = "---"
_MAX_CARD_CHARACTERS = 1 << 20  # characters of a card to read; its front matter comes first
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A model that takes part in a merge.

    Attributes:
        name: the user's name for it.
        reference: the model in the recipe.
        place: the reference with absolute paths.
        licence: the Hub's identifier, from the card; None if the card states none or is missing.
        licence_name: name of a licence without an identifier.
        languages: languages listed in the card.
        lora_licence: licence of its LoRA, if any.
        commit: the version, if it is from the Hub.
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
        """Names of the model and its LoRA for a card: Hub names, or the last part of a folder's path."""
        return tuple(public_name(part) for part in self._places)

    @property
    def hub_names(self) -> tuple[str, ...]:
        """The public names that are on the Hub."""
        references = (part for part in self._places if not Path(part).is_absolute())
        return tuple(match["name"] if (match := HUB_NAME.fullmatch(part)) else part for part in references)

    @property
    def _places(self) -> tuple[str, ...]:
        parsed = parse_reference(self.place)
        return tuple(part for part in (parsed.model, parsed.lora) if part is not None)

    @property
    def public_name(self) -> str:
        """The public names joined by ``+``."""
        return "+".join(self.public_names)

    @property
    def licences(self) -> tuple[tuple[str, str | None], ...]:
        """Public name and licence of the model and of its LoRA."""
        licences = (self.licence_name or self.licence, self.lora_licence)
        return tuple(zip(self.public_names, licences, strict=False))


def public_name(name: str) -> str:
    """Return the last part of an absolute path, and any other name unchanged.

    A component of a pipeline keeps the pipeline's name, as ``sdxl/unet``.
    """
    path = Path(name)
    if not path.is_absolute() and not name.startswith("~"):
        return name
    return f"{path.parent.name}/{path.name}" if (path.parent / PIPELINE).is_file() else path.name


def public_recipe(recipe: Recipe, origins: Sequence[Origin]) -> Recipe:
    """Return the recipe with absolute paths reduced to their last part."""
    names = {origin.reference: origin.public_name for origin in origins}

    def place(reference: str) -> str:
        is_absolute = any(public_name(part) != part for part in reference.split("+"))
        return names.get(reference, Path(reference).name) if is_absolute else reference

    return replaced(replace(recipe, merge_method=public_name(recipe.merge_method)), place)


def describe(name: str, checkpoint: Checkpoint, folder: Path) -> Origin:
    """Return a model's origin from its card."""
    place = checkpoint.pipeline or checkpoint.path
    front = read_front_matter(place / "README.md")
    lora = None
    if checkpoint.adapter is not None:
        lora_licence, lora_name = _licence(read_front_matter(checkpoint.adapter.path / "README.md"))
        lora = lora_name or lora_licence
    licence, licence_name = _licence(front)
    return Origin(
        name=name,
        reference=checkpoint.reference,
        place=whole_model(checkpoint.reference, folder),
        licence=licence,
        licence_name=licence_name,
        languages=_texts(front.get("language")),
        lora_licence=lora,
        commit=place.name if place.parent.name == "snapshots" and _COMMIT.fullmatch(place.name) else None,
    )


def read_front_matter(card: Path) -> Mapping[str, object]:
    """Return the YAML front matter of a model card; empty if it is missing or unreadable."""
    try:
        with card.open(encoding="utf-8") as stream:
            text = stream.read(_MAX_CARD_CHARACTERS)
        first, head, *_ = text.split(f"{FENCE}\n", 2)
        loaded: object = yaml.safe_load(head) if first.strip("\ufeff \n") == "" else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return cast("Mapping[str, object]", loaded) if isinstance(loaded, dict) else {}


def _licence(front: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Return the licence of a card, and its name if the Hub has no identifier for it."""
    licence, name = ", ".join(_texts(front.get("license"))) or None, front.get("license_name")
    return licence, name.strip() if licence == "other" and isinstance(name, str) and name.strip() else None


def _texts(value: object) -> tuple[str, ...]:
    values = cast("list[object]", value if isinstance(value, list) else [value])
    return tuple(each for each in values if isinstance(each, str) and each.strip())
