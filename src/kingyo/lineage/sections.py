"""What the card of a merged model says of the models that went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.lineage.licences import UNKNOWN, kind_of, strictest
from kingyo.lineage.markdown import cell, table
from kingyo.lineage.origins import Origin
from kingyo.recipe import Recipe
from kingyo.sizes import counted


def base_models(origins: Sequence[Origin]) -> dict[str, object]:
    """The models and LoRAs that went in and are on the Hub, which reads these names; folders are on none."""
    names = list(dict.fromkeys(name for origin in origins for name in origin.hub_names))
    return {"base_model": names, "base_model_relation": "merge"} if names else {}


def passed(recipe: Recipe, names: Mapping[str, str]) -> str:
    """Say in words what a recipe with a path is.

    Args:
        recipe: with a path.
        names: of the models, by reference; a model that has none here is called as the recipe has it.
    """
    frame = recipe.base_model
    through = [cell(names.get(each, each)) for each in dict.fromkeys(hop.model for hop in recipe.path)]
    ends = "" if frame is None else f", with embeddings and head of {cell(names.get(frame, frame))}"
    return f"A path through {counted(len(recipe.path), 'layer')} of {', '.join(through)}{ends}"


def models_section(origins: Sequence[Origin], first: str = "name") -> str:
    """A table of the models that went in, and what their licences ask for.

    Args:
        origins: the models.
        first: what their names are.
    """
    has_versions = any(origin.commit for origin in origins)
    head = (first, "model", *(("version",) if has_versions else ()), "licence")
    rows = [
        (
            cell(origin.name),
            cell(origin.public_name),
            *((f"`{origin.commit[:12]}`" if origin.commit else "",) if has_versions else ()),
            cell("; LoRA: ".join(licence or UNKNOWN for _, licence in origin.licences)),
        )
        for origin in origins
    ]
    return f"{table(head, rows)}\n\n{_licences(origins)}"


def _licences(origins: Sequence[Origin]) -> str:
    note = "The licence of a merge follows from those of its sources: check that they allow your use."
    found = strictest(origins)
    silent = any(kind_of(licence) is None for origin in origins for _, licence in origin.licences)
    if not found:
        return note
    names = " and ".join(f"**{cell(licence)}**" for licence in found)
    said = f"The strictest {'of those that are known ' if silent else ''}is {names}."
    return f"{said} {note}"
