"""Write the model card of a merge: front matter for the Hub, then Markdown, with untrusted text escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import yaml

from kingyo.core.io.units import counted
from kingyo.merging.lineage.origins import UNKNOWN, Origin, front_licence, kind_of, strictest
from kingyo.merging.recipe import Recipe

INHERITED = "It inherits the biases of its source models, and nobody has checked it for safety."
LONGEST_RECIPE = 200
"""Lines of a recipe on a card."""


def render(title: str, front: Mapping[str, object], summary: str, sections: Mapping[str, str | None]) -> str:
    """Return the text of a card; ``sections`` maps headings to Markdown; None is left out."""
    head = yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{head}---\n\n# {cell(title)}\n\n{summary}"]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items() if text is not None]
    return "\n\n".join(parts) + "\n"


def front_matter(
    origins: Sequence[Origin],
    *,
    library: str,
    pipeline_tag: str | None,
    languages: Iterable[str] = (),
    relation: str | None = "merge",
) -> dict[str, object]:
    """Return the front matter of a card: library and pipeline tag are the Hub's.

    Args:
        origins: the source models.
        languages: languages of the model, in addition to those of its sources.
        relation: ``merge``, ``finetune``, or None for a copy.
    """
    stated = dict.fromkeys([*languages, *(each for origin in origins for each in origin.languages)])
    return {
        **front_licence(origins),
        **({"language": list(stated)} if stated else {}),
        "library_name": library,
        **({} if pipeline_tag is None else {"pipeline_tag": pipeline_tag}),
        **base_models(origins, relation),
        "tags": ["merge", "kingyo"] if relation == "merge" else ["kingyo"],
    }


def base_models(origins: Sequence[Origin], relation: str | None = "merge") -> dict[str, object]:
    """Return the front matter that lists the models and LoRAs from the Hub; folders are left out."""
    names = list(dict.fromkeys(name for origin in origins for name in origin.hub_names))
    if not names:
        return {}
    return {"base_model": names, **({} if relation is None else {"base_model_relation": relation})}


def recipe_section(text: str, note: str) -> str:
    """Return a recipe and a note on its file; a very long recipe is only in the file."""
    lines = text.count("\n")
    if lines > LONGEST_RECIPE:
        return (
            f"`recipe.yaml` is the recipe, of {lines:,} lines; its paths are relative to this folder. {note}"
        )
    paths = "`recipe.yaml` is the same recipe, but its paths are relative to this folder."
    return f"{fence(text, 'yaml')}\n\n{paths} {note}"


def describe_path(recipe: Recipe, names: Mapping[str, str]) -> str:
    frame = recipe.base_model
    through = [cell(names.get(each, each)) for each in dict.fromkeys(hop.model for hop in recipe.path)]
    ends = "" if frame is None else f", with embeddings and head of {cell(names.get(frame, frame))}"
    return f"A path through {counted(len(recipe.path), 'layer')} of {', '.join(through)}{ends}"


def models_section(origins: Sequence[Origin], first: str = "name") -> str:
    """Return a table of the source models, and a note on their licences."""
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


def cell(text: str) -> str:
    """Escape text for Markdown and its tables: no markup, no pipes, one line."""
    plain = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|<>#])", r"\\\1", plain)


def fence(text: str, language: str) -> str:
    """Put text into a code fence longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
