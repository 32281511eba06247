"""The model card of a merge: models that went in, their licences, the recipe.

It tells no path of this machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import yaml

from kingyo import __version__
from kingyo.engine.preflight.survey import PlannedOutput
from kingyo.lineage import (
    base_models,
    bullets,
    cell,
    fence,
    front_licence,
    models_section,
    passed,
    public_recipe,
)
from kingyo.methods import Reproduces
from kingyo.models.kinds import CardPart, known_kind
from kingyo.recipe import RecipeBook

_LIMITS = (
    "Nobody has scored it: what its sources can do may be lost.",
    "It inherits the biases of the models that went in, and nobody has checked it for safety.",
)

_DRAWING = """from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained('.')  # this folder"""

_AGAIN: dict[Reproduces, str] = {
    "everywhere": "bit for bit.",
    "on one machine": "bit for bit on one machine; another may round otherwise.",
    "with as many threads": "bit for bit on one machine with one number of threads; others may round "
    "otherwise.",
}


def render_card(target: PlannedOutput, *, pipeline: bool = False) -> str:
    """Write the card: YAML that the Hub reads, then Markdown for people.

    Args:
        target: what is written.
        pipeline: whether the pipeline around it is, too.
    """
    head = yaml.safe_dump(front_matter(target), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---\n\n# {cell(target.out.resolve().name)}\n\n{_summary(target)}",
        f"## Models that went in\n\n{models_section(target.origins, 'role')}",
        f"## Recipe\n\n{_recipe(target)}",
    ]
    use = fence(_DRAWING, "python") if pipeline else _use(target)
    parts += [f"## Use\n\n{use}"] if use else []
    parts.append(f"## Limits\n\n{bullets(_LIMITS)}")
    return "\n\n".join(parts) + "\n"


def front_matter(target: PlannedOutput) -> dict[str, object]:
    """Return what the Hub reads."""
    languages = dict.fromkeys(language for origin in target.origins for language in origin.languages)
    is_diffusers, part = target.plan.like.stem != "model", _part(target)
    return {
        **front_licence(target.origins),
        **({"language": list(languages)} if languages else {}),
        "library_name": "diffusers" if is_diffusers else part.library if part else "transformers",
        **({"pipeline_tag": part.pipeline_tag} if part else {}),
        **base_models(target.origins),
        "tags": ["merge", "kingyo"],
    }


def _summary(target: PlannedOutput) -> str:
    method, recipe = target.plan.method, target.plan.recipe
    merged = [cell(origin.public_name) for origin in target.origins if origin.name == "merged"]
    bases = [cell(origin.public_name) for origin in target.origins if origin.name == "base"]
    relative = f" relative to {', '.join(bases)}" if bases and merged else ""
    made = f"A merge of {', '.join(merged or bases)}{relative}"
    if recipe.path:
        made = passed(recipe, {origin.reference: origin.public_name for origin in target.origins})
    steps = f", in {len(target.book.steps)} steps" if len(target.book.steps) > 1 else ""
    drawn = f" Its random numbers have the seed {recipe.seed}." if method.stochastic else ""
    return f"{made}, made by kingyo {__version__}{steps}. `{method.name}`: {cell(method.doc)}{drawn}"


def _recipe(target: PlannedOutput) -> str:
    text = _public(target).to_yaml()
    note = "`recipe.yaml` holds it with paths as seen from this folder, where it was merged: `kingyo merge`"
    return f"{fence(text, 'yaml')}\n\n{note} makes the same weights of it, {_AGAIN[target.reproduces]}"


def _public(target: PlannedOutput) -> RecipeBook:
    steps = target.book.steps
    return RecipeBook(
        steps=tuple(replace(step, recipe=public_recipe(step.recipe, target.origins)) for step in steps)
    )


def _use(target: PlannedOutput) -> str | None:
    """Code that loads it with transformers."""
    like, part = target.plan.like, _part(target)
    if like.stem != "model" or (part is not None and part.library != "transformers"):
        return None
    named = next((each for each in _architectures(target) if each.isidentifier()), "AutoModel")
    kind = part.auto_class if part else named
    has_tokenizer = (like.path / "tokenizer_config.json").is_file()
    imports = ", ".join(sorted((kind, "AutoTokenizer") if has_tokenizer else (kind,)))
    lines = [f"from transformers import {imports}", ""]
    if has_tokenizer:
        lines.append("tokenizer = AutoTokenizer.from_pretrained('.')  # this folder")
    lines.append(f"model = {kind}.from_pretrained('.', dtype='auto')")
    return fence("\n".join(lines), "python")


def _part(target: PlannedOutput) -> CardPart | None:
    """What its kind of model says in a card; None where it is of no known kind."""
    like = target.plan.like
    kind = known_kind(like.config, like.pipeline_index)
    return None if kind is None else kind.card


def _architectures(target: PlannedOutput) -> list[str]:
    named = target.plan.like.config.get("architectures")
    return [str(each) for each in cast("list[object]", named)] if isinstance(named, list) else []
