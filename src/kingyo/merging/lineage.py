"""Origins of the merged models, with the licences in their cards; and the parts that all model cards share.

Licences are the Hub's identifiers, classified by what they require of a merge. This is no legal advice.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import yaml

from kingyo.core.io.model_names import HUB_NAME
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.io.units import counted
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.model_reference import parse_reference, whole_model
from kingyo.merging.recipe import Recipe
from kingyo.merging.vocabulary import Diagnostic, replaced

FENCE = "---"
_MAX_CARD_CHARACTERS = 1 << 20  # characters of a card to read; its front matter comes first
_COMMIT = re.compile(r"[0-9a-f]{40}")
UNKNOWN = "not stated in its card"
INHERITED = "It inherits the biases of its source models, and nobody has checked it for safety."
LONGEST_RECIPE = 200
"""Lines of a recipe on a card."""

_KINDS = (
    ("no derivatives", re.compile(r"cc-by(-nc)?-nd\b.*|.*no-?deriv.*")),
    ("non-commercial", re.compile(r"cc-by-nc\b.*|.*non-?commercial.*|.*research.*|apple-amlr|cdla-.*nc.*")),
    ("share-alike", re.compile(r"cc-by-sa\b.*|a?gpl\b.*|odbl|gfdl|eupl.*|osl.*|cc-by-nc-sa\b.*")),
    (
        "other",
        re.compile(
            r".*rail.*|llama.*|gemma.*|.*community.*|mpl.*|epl.*|lgpl.*|ms-pl|cddl.*|apache.*|cc-by\b.*|bsd.*"
            r"|mit.*|isc|afl.*|bsl.*|ecl.*|zlib|artistic.*|odc-by|ncsa|cc0.*|unlicense|wtfpl|pddl"
        ),
    ),
)
"""Kinds of licences, the strictest first; the first match decides."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A model that takes part in a merge."""

    name: str  # the user's
    reference: str  # the one in the recipe
    place: str  # the same with absolute paths
    licence: str | None  # the Hub's identifier, from the card; None if the card states none or is missing
    languages: tuple[str, ...]
    licence_name: str | None = None  # of a licence without an identifier
    lora_licence: str | None = None
    commit: str | None = None  # of a model from the Hub

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
    place = checkpoint.card_folder
    front = read_front_matter(place / "README.md")
    lora = None
    if checkpoint.adapter is not None:
        lora_licence, lora_name = licence_in(read_front_matter(checkpoint.adapter.path / "README.md"))
        lora = lora_name or lora_licence
    licence, licence_name = licence_in(front)
    return Origin(
        name=name,
        reference=checkpoint.reference,
        place=whole_model(checkpoint.reference, folder),
        licence=licence,
        licence_name=licence_name,
        languages=texts_of(front.get("language")),
        lora_licence=lora,
        commit=place.name if place.parent.name == "snapshots" and _COMMIT.fullmatch(place.name) else None,
    )


def read_front_matter(card: Path) -> Mapping[str, object]:
    """Return the YAML front matter of a model card; empty if it is missing or unreadable."""
    try:
        if not card.is_file():  # a pipe would wait for a writer
            return {}
        with card.open(encoding="utf-8") as stream:
            text = stream.read(_MAX_CARD_CHARACTERS)
        first, head, *_ = text.split(f"{FENCE}\n", 2)
        loaded: object = yaml.safe_load(head) if first.strip("\ufeff \n") == "" else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return cast("Mapping[str, object]", loaded) if isinstance(loaded, dict) else {}


def licence_in(front: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Return the licence of a card, and its name if the Hub has no identifier for it."""
    licence, name = ", ".join(texts_of(front.get("license"))) or None, front.get("license_name")
    return licence, name.strip() if licence == "other" and isinstance(name, str) and name.strip() else None


def texts_of(value: object) -> tuple[str, ...]:
    values = cast("list[object]", value if isinstance(value, list) else [value])
    return tuple(each for each in values if isinstance(each, str) and each.strip())


def kind_of(licence: str | None) -> str | None:
    """Return the kind of a licence; None if it is unknown or not stated."""
    stated = (licence or "unknown").strip().lower()
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(stated)), None)


def front_licence(origins: Sequence[Origin]) -> dict[str, object]:
    """Return the licence for the front matter of a card: the common one, else ``other``."""
    licences = {licence for origin in origins for _, licence in origin.licences}
    if len(licences) > 1:
        return {"license": "other", "license_name": "those-of-the-merged-models"}
    licence, named = origins[0].licence, origins[0].licence_name
    if licence == "other":
        return {"license": "other", "license_name": named or "those-of-the-merged-models"}
    return {"license": licence or "unknown"}


def check_licences(
    licences: Iterable[tuple[str, str | None]], *, is_allowed: bool = False
) -> Iterator[Diagnostic]:
    """Yield findings on licences that forbid merges, are unknown, or set different terms.

    ``licences`` are pairs of a model and its licence, None for one that is not stated. ``is_allowed``: the
    user takes responsibility, and a forbidden merge is only a warning.
    """
    stated = dict.fromkeys(licences)
    kinds = {name: kind_of(licence) for name, licence in stated}
    for name, licence in stated:
        if kinds[name] == "no derivatives":
            remedy = "ask its authors, or use --ignore-licences and do not share the result."
            remedy = "Do not share the result." if is_allowed else f"Leave the model out, {remedy}"
            level, expected = "warning" if is_allowed else "error", "a licence that allows derivatives"
            yield Diagnostic(level, f"the licence of {name}", expected, str(licence), remedy)
        elif licence is not None and kinds[name] is None:
            yield _unknown(name, licence)
    silent = [name for name, licence in stated if licence is None]
    if silent:
        yield _unknown(", ".join(silent), UNKNOWN)
    strict = [pair for pair in stated if kind_of(pair[1]) == "non-commercial"]
    others = [pair for pair in stated if pair[1] not in {licence for _, licence in strict}]
    if strict and others:
        (one, first), (other, second) = strict[0], others[0]
        received = f"{first} of {one} and {second or 'none stated'} of {other}"
        yield _conflict("licences with the same terms", received, "Do not use the merge commercially.")
    alike = {str(licence): name for name, licence in stated if kind_of(licence) == "share-alike"}
    if len(alike) > 1:
        (first, one), (second, other) = list(alike.items())[:2]
        expected = "one share-alike licence, since a merge has to be under it"
        remedy = "Check that they are compatible, or leave one of the models out."
        yield _conflict(expected, f"{first} of {one} and {second} of {other}", remedy)


def _conflict(expected: str, received: str, remedy: str) -> Diagnostic:
    return Diagnostic("warning", "licences", expected, received, remedy)


def _unknown(name: str, licence: str) -> Diagnostic:
    remedy = "Read the authors' terms before you share the result."
    return Diagnostic("note", f"the licence of {name}", "a known licence", licence, remedy)


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
    """Return the front matter of a card: ``library`` and ``pipeline_tag`` are the Hub's.

    ``languages`` are those besides the sources', ``relation`` is ``merge``, ``finetune``, or None for a copy.
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
        size = f"of {lines:,} lines"
        return f"`recipe.yaml` is the recipe, {size}; its paths are relative to this folder. {note}"
    paths = "`recipe.yaml` is the same recipe, but its paths are relative to this folder."
    return f"{fence(text, 'yaml')}\n\n{paths} {note}"


def describe_path(recipe: Recipe, names: Mapping[str, str]) -> str:
    frame = recipe.base_model
    through = [cell(names.get(each, each)) for each in dict.fromkeys(hop.model for hop in recipe.path)]
    ends = "" if frame is None else f", with embeddings and head of {cell(names.get(frame, frame))}"
    return f"A path through {counted(len(recipe.path), 'layer')} of {', '.join(through)}{ends}"


def models_section(origins: Sequence[Origin], first: str = "name") -> str:
    """Return a table of the source models, and a note on their licences."""
    rows = [
        (
            cell(origin.name),
            cell(origin.public_name),
            f"`{origin.commit[:12]}`" if origin.commit else "",
            cell("; LoRA: ".join(licence or UNKNOWN for _, licence in origin.licences)),
        )
        for origin in origins
    ]
    note = "The licence of a merge follows from those of its sources: check that they allow your use."
    return f"{table((first, 'model', 'version', 'licence'), rows)}\n\n{note}"


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
