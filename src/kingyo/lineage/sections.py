"""Write the parts of a merged model's card about its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.io.units import counted
from kingyo.lineage.licences import UNKNOWN, kind_of, strictest
from kingyo.lineage.markdown import cell, table
from kingyo.lineage.origins import Origin
from kingyo.recipe import Recipe


def base_models(origins: Sequence[Origin]) -> dict[str, object]:
    """Return the front matter that lists the models and LoRAs from the Hub; folders are left out."""
    names = list(dict.fromkeys(name for origin in origins for name in origin.hub_names))
    return {"base_model": names, "base_model_relation": "merge"} if names else {}


def passed(recipe: Recipe, names: Mapping[str, str]) -> str:
    """Describe a recipe with a path.

    Args:
        recipe: has a path.
        names: names of the models by reference; the reference itself by default.
    """
    frame = recipe.base_model
    through = [cell(names.get(each, each)) for each in dict.fromkeys(hop.model for hop in recipe.path)]
    ends = "" if frame is None else f", with embeddings and head of {cell(names.get(frame, frame))}"
    return f"A path through {counted(len(recipe.path), 'layer')} of {', '.join(through)}{ends}"


def models_section(origins: Sequence[Origin], first: str = "name") -> str:
    """Return a table of the merged models, and a note on their licences.

    Args:
        origins: the models.
        first: head of the column of names.
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
    licences = strictest(origins)
    has_unknown = any(kind_of(licence) is None for origin in origins for _, licence in origin.licences)
    if not licences:
        return note
    names = " and ".join(f"**{cell(licence)}**" for licence in licences)
    verb = "licence is" if len(licences) == 1 else "licences are"
    return f"The strictest {'known ' if has_unknown else ''}{verb} {names}. {note}"
