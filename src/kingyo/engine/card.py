"""Write the model card of ``kingyo merge``, without paths of this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from kingyo import __version__
from kingyo.engine.preflight.planned import PlannedOutput
from kingyo.lineage import (
    INHERITED,
    bullets,
    cell,
    describe_path,
    fence,
    front_matter,
    models_section,
    public_recipe,
    recipe_section,
    render,
)
from kingyo.methods import Reproduces
from kingyo.models.kinds import CardPart, known_kind
from kingyo.recipe import RecipeBook

_NOT_SCORED = "Nobody has scored it: abilities of its source models may be lost."

_PIPELINE_CODE = """from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained('.')  # this folder"""

_SAME_BITS: dict[Reproduces, str] = {
    "everywhere": "bit for bit.",
    "on one machine": "bit for bit on one machine; others may round differently.",
    "with the same number of threads": "bit for bit on one machine with one number of threads; others may "
    "round differently.",
}


def render_card(target: PlannedOutput, *, pipeline: bool = False) -> str:
    """Write the card of an output.

    Args:
        target: the output.
        pipeline: whether the pipeline around it is written too.
    """
    part = _card_part(target)
    is_diffusers = target.plan.like.stem != "model"
    front = front_matter(
        target.origins,
        library="diffusers" if is_diffusers else part.library if part else "transformers",
        pipeline_tag=part.pipeline_tag if part else None,
    )
    sections = {
        "Source models": models_section(target.origins, "role"),
        "Recipe": _recipe(target),
        "Use": fence(_PIPELINE_CODE, "python") if pipeline else _use(target),
        "Limits": bullets((_NOT_SCORED, INHERITED)),
    }
    return render(target.out.resolve().name, front, _summary(target), sections)


def _summary(target: PlannedOutput) -> str:
    method, recipe = target.plan.method, target.plan.recipe
    merged = [cell(origin.public_name) for origin in target.origins if origin.name == "merged"]
    bases = [cell(origin.public_name) for origin in target.origins if origin.name == "base"]
    relative = f" relative to {', '.join(bases)}" if bases and merged else ""
    what = f"A merge of {', '.join(merged or bases)}{relative}"
    if recipe.path:
        what = describe_path(recipe, {origin.reference: origin.public_name for origin in target.origins})
    steps = f", in {len(target.book.steps)} steps" if len(target.book.steps) > 1 else ""
    seed = f" The seed of its random numbers is {recipe.seed}." if method.stochastic else ""
    return f"{what}, made by kingyo {__version__}{steps}. `{method.name}`: {cell(method.doc)}{seed}"


def _recipe(target: PlannedOutput) -> str:
    steps = tuple(
        replace(step, recipe=public_recipe(step.recipe, target.origins)) for step in target.book.steps
    )
    note = f"`kingyo merge` makes the same weights from it, {_SAME_BITS[target.reproduces]}"
    return recipe_section(RecipeBook(steps=steps).to_yaml(), note)


def _use(target: PlannedOutput) -> str | None:
    """Return code that loads the model with transformers; None for a model of another library."""
    like, part = target.plan.like, _card_part(target)
    if like.stem != "model" or (part is not None and part.library != "transformers"):
        return None
    architectures = like.config.get("architectures")
    names = map(str, cast("list[object]", architectures)) if isinstance(architectures, list) else ()
    auto_class = (
        part.auto_class if part else next((each for each in names if each.isidentifier()), "AutoModel")
    )
    has_tokenizer = (like.path / "tokenizer_config.json").is_file()
    imports = ", ".join(sorted((auto_class, "AutoTokenizer") if has_tokenizer else (auto_class,)))
    lines = [f"from transformers import {imports}", ""]
    if has_tokenizer:
        lines.append("tokenizer = AutoTokenizer.from_pretrained('.')  # this folder")
    lines.append(f"model = {auto_class}.from_pretrained('.', dtype='auto')")
    return fence("\n".join(lines), "python")


def _card_part(target: PlannedOutput) -> CardPart | None:
    """Return the card's part for the kind of model, or None if no kind takes the model."""
    like = target.plan.like
    kind = known_kind(like.config, like.pipeline_index)
    return None if kind is None else kind.card
