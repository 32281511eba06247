"""Write the outputs of a checked merge, each with its recipe and a card without paths of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

from kingyo import __version__
from kingyo.merging.checkpoints.locate import whole_pipeline
from kingyo.merging.engine.book import PlannedOutput, rooted_book
from kingyo.merging.engine.folder import Watch, to_folder
from kingyo.merging.engine.preflight import Preflight
from kingyo.merging.lineage import (
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
from kingyo.merging.methods import Reproduces

_NOT_SCORED = "Nobody has scored it: abilities of its source models may be lost."

_PIPELINE_CODE = """from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained('.')  # this folder"""

_SAME_BITS: dict[Reproduces, str] = {
    "everywhere": "bit for bit.",
    "on one machine": "bit for bit on one machine; others may round differently.",
    "with the same number of threads": "bit for bit on one machine with one number of threads; others may "
    "round differently.",
}


class Loader(NamedTuple):
    """The library and class that load a kind of model, and the Hub's pipeline tag."""

    library: str
    auto_class: str
    pipeline_tag: str


def write(
    preflight: Preflight, output: PlannedOutput, watch: Watch | None = None, *, loader: Loader | None = None
) -> Path:
    """Write a checked output; ``loader`` is named on its card, and None if no kind takes the model."""
    if preflight.error is not None:
        raise preflight.error
    root, options, around = preflight.root, preflight.options, None
    if options.pipeline:
        around = whole_pipeline(output.plan.like, root, allow_pickle=options.allow_pickle)
    files = {
        "recipe.yaml": rooted_book(output.book, root, out=output.out).to_yaml(),
        "README.md": render_card(output, loader, pipeline=options.pipeline),
    }
    return to_folder(output.plan, output.out, files, options, around=around, watch=watch)


def render_card(output: PlannedOutput, loader: Loader | None = None, *, pipeline: bool = False) -> str:
    """Return the model card of an output; ``pipeline``: the pipeline around it is written too."""
    is_diffusers = output.plan.like.stem != "model"
    front = front_matter(
        output.origins,
        library="diffusers" if is_diffusers else loader.library if loader else "transformers",
        pipeline_tag=loader.pipeline_tag if loader else None,
    )
    book = output.book.with_recipes(lambda recipe: public_recipe(recipe, output.origins))
    note = f"`kingyo merge` makes the same weights from it, {_SAME_BITS[output.reproduces]}"
    sections = {
        "Source models": models_section(output.origins, "role"),
        "Recipe": recipe_section(book.to_yaml(), note),
        "Use": fence(_PIPELINE_CODE, "python") if pipeline else _use(output, loader),
        "Limits": bullets((_NOT_SCORED, INHERITED)),
    }
    return render(output.out.resolve().name, front, _summary(output), sections)


def _summary(output: PlannedOutput) -> str:
    method, recipe = output.plan.method, output.plan.recipe
    merged = [cell(origin.public_name) for origin in output.origins if origin.name == "merged"]
    bases = [cell(origin.public_name) for origin in output.origins if origin.name == "base"]
    relative = f" relative to {', '.join(bases)}" if bases and merged else ""
    what = f"A merge of {', '.join(merged or bases)}{relative}"
    if recipe.path:
        what = describe_path(recipe, {origin.reference: origin.public_name for origin in output.origins})
    steps = f", in {len(output.book.steps)} steps" if len(output.book.steps) > 1 else ""
    seed = f" The seed of its random numbers is {recipe.seed}." if method.stochastic else ""
    return f"{what}, made by kingyo {__version__}{steps}. `{method.name}`: {cell(method.doc)}{seed}"


def _use(output: PlannedOutput, loader: Loader | None) -> str | None:
    """Return code that loads the model with transformers; None for a model of another library."""
    like = output.plan.like
    if like.stem != "model" or (loader is not None and loader.library != "transformers"):
        return None
    architectures = like.config.get("architectures")
    names = map(str, cast("list[object]", architectures)) if isinstance(architectures, list) else ()
    auto_class = (
        loader.auto_class if loader else next((each for each in names if each.isidentifier()), "AutoModel")
    )
    has_tokenizer = (like.path / "tokenizer_config.json").is_file()
    imports = ", ".join(sorted((auto_class, "AutoTokenizer") if has_tokenizer else (auto_class,)))
    lines = [f"from transformers import {imports}", ""]
    if has_tokenizer:
        lines.append("tokenizer = AutoTokenizer.from_pretrained('.')  # this folder")
    lines.append(f"model = {auto_class}.from_pretrained('.', dtype='auto')")
    return fence("\n".join(lines), "python")
