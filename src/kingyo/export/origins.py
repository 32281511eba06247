"""What is known of the models that were merged: where they are, and what their own cards say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.reference import parse_reference, whole_model
from kingyo.recipe import Recipe
from kingyo.searches import Models

FENCE = "---"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One model that went into a merge.

    Attributes:
        name: in the run.yaml.
        reference: as the recipe names it.
        place: its reference with whole paths of folders.
        licence: as its card says; None when it says nothing, or has no card.
        languages: of its card.
    """

    name: str
    reference: str
    place: str
    licence: str | None
    languages: tuple[str, ...]

    @property
    def public_name(self) -> str:
        """How a card may name it: by its name on the Hub; a folder by its last part, not by its path."""
        parsed = parse_reference(self.place)
        parts = [Path(part) for part in (parsed.model, parsed.lora) if part is not None]
        return "+".join(part.name if part.is_absolute() else str(part) for part in parts)


def read_origins(recipe: Recipe, models: Models, folder: Path) -> tuple[Origin, ...]:
    """Describe the models of a recipe, the base last.

    Args:
        recipe: what is merged.
        models: the opened models of the run.
        folder: where the run's relative paths start.
    """
    wanted = dict.fromkeys([*(source.model for source in recipe.sources), recipe.base_model])
    names = {checkpoint.reference: name for name, checkpoint in models.sources.items()}
    by_reference = models.by_reference
    return tuple(
        _read_origin(names.get(reference, "base"), by_reference[reference], folder)
        for reference in wanted
        if reference is not None
    )


def _read_origin(name: str, checkpoint: Checkpoint, folder: Path) -> Origin:
    told = read_front_matter(checkpoint.path / "README.md")
    licence = told.get("license")
    return Origin(
        name=name,
        reference=checkpoint.reference,
        place=whole_model(checkpoint.reference, folder),
        licence=licence if isinstance(licence, str) else None,
        languages=_texts(told.get("language")),
    )


def read_front_matter(card: Path) -> Mapping[str, object]:
    """Read the YAML at the head of a model card; nothing when it has none, or none that can be read."""
    try:
        text = card.read_text(encoding="utf-8")
        first, head, *_ = text.split(f"{FENCE}\n", 2)
        loaded: object = yaml.safe_load(head) if first.strip("\ufeff \n") == "" else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return cast("Mapping[str, object]", loaded) if isinstance(loaded, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    values = cast("list[object]", value if isinstance(value, list) else [value])
    return tuple(each for each in values if isinstance(each, str))
