"""Check a merge and report every mistake; then write its outputs, each with its recipe and a card."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from kingyo import __version__
from kingyo.core.io.units import size_text
from kingyo.errors import KingyoError, combined_error
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.locate import whole_pipeline
from kingyo.merging.checkpoints.model_reference import with_component
from kingyo.merging.checkpoints.single_file_layout import check_single_file
from kingyo.merging.checkpoints.writer import check_free, disk_full_error, unwritable_error
from kingyo.merging.engine.book import (
    FOLDER_NAME,
    Models,
    PlannedOutput,
    Plans,
    origins_of,
    plan_steps,
    planned_outputs,
    rooted_book,
)
from kingyo.merging.engine.execute import MergeOptions
from kingyo.merging.engine.plan import Plan
from kingyo.merging.engine.results import Watch, check_no_source, to_folder
from kingyo.merging.lineage import (
    INHERITED,
    bullets,
    cell,
    check_licences,
    describe_path,
    fence,
    front_matter,
    models_section,
    public_recipe,
    recipe_section,
    render,
)
from kingyo.merging.recipe import Recipe, RecipeBook, load_recipes
from kingyo.merging.vocabulary import Diagnostic, compare, replaced, tokenizer_choice

_LEVELS = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """A checked merge."""

    name: str  # name of the recipes in messages
    root: Path  # base of their relative paths
    out: Path  # the folder to make
    options: MergeOptions
    models: Models  # the models that could be opened, with the results of recipes by their names
    plans: Plans  # the plans of the recipes that could be planned
    outputs: tuple[PlannedOutput, ...]
    diagnostics: tuple[Diagnostic, ...] = ()  # errors, then warnings, then notes

    def of(self, level: Literal["error", "warning", "note"]) -> tuple[Diagnostic, ...]:
        return tuple(each for each in self.diagnostics if each.level == level)

    @property
    def n_missing(self) -> int:
        """Bytes of weights that are still on the Hub; a model with several LoRAs counts once."""
        return sum({model.path: model.n_missing for model in self.models.values()}.values())

    @property
    def error(self) -> KingyoError | None:
        errors = [each.error for each in self.of("error")]
        return combined_error(self.name, errors, "a merge that can be done") if errors else None


def check_merge(
    recipe: Path | RecipeBook,
    out: Path,
    options: MergeOptions | None = None,
    *,
    folder: Path | None = None,
    fetch: bool = True,
) -> Preflight:
    """Check the recipes, models and output folder of a merge.

    Args:
        recipe: the recipe file, or its content.
        folder: base of the recipe's relative paths; None: the folder of the file, or the working directory.
        fetch: whether to download weights of models on the Hub; without them nothing can be merged.

    Raises:
        KingyoError: the file does not contain recipes, or they have mistakes in their form. All others are in
            ``diagnostics``.
    """
    chosen = options or MergeOptions()
    root = folder or (recipe.parent if isinstance(recipe, Path) else Path())
    book = _book(recipe, root, chosen)
    mistakes = [*_bad_names(book)]
    models, plans = plan_steps(book, root, mistakes.append, fetch=fetch, allow_pickle=chosen.allow_pickle)
    outputs = planned_outputs(book, models, plans, out, folder=root, max_shard_bytes=chosen.max_shard_bytes)
    checked = Preflight(
        name=str(recipe) if isinstance(recipe, Path) else "recipe",
        root=root,
        out=out,
        options=chosen,
        models=models,
        plans=plans,
        outputs=tuple(outputs),
    )
    found = [Diagnostic.of(error) for error in mistakes]
    for reference, model in models.items():
        if model.n_missing:
            received = f"headers alone; {size_text(model.n_missing)} are on the Hub"
            remedy = "The merge downloads them first."
            found.append(Diagnostic("note", reference, "weights on this machine", received, remedy))
    for step in book.steps:
        found += _check_models(step.recipe, models, plans.get(step.name))
    licences = [pair for origin in origins_of(book.steps, models, root) for pair in origin.licences]
    found += check_licences(licences, is_allowed=chosen.ignore_licences)
    found += _check_outputs(checked, fetch=fetch)
    in_order = sorted(dict.fromkeys(found), key=lambda each: _LEVELS.index(each.level))
    return replace(checked, diagnostics=tuple(in_order))


def _book(recipe: Path | RecipeBook, root: Path, options: MergeOptions) -> RecipeBook:
    book = recipe if isinstance(recipe, RecipeBook) else load_recipes(recipe)
    seed, component = options.seed, options.component
    if seed is not None:
        book = book.with_recipes(lambda recipe: replace(recipe, seed=seed))
    if component is None:
        return book
    if not FOLDER_NAME.fullmatch(component):
        remedy = "Name one folder of the pipelines, such as unet."
        raise KingyoError("--component", "the name of a component", f"'{component}'", remedy)
    names = [step.name for step in book.steps]

    def place(reference: str) -> str:
        return reference if reference in names else with_component(reference, component, root)

    placed = book.with_recipes(lambda recipe: replaced(recipe, place))
    if placed == book:
        expected = "recipes that name a complete diffusers pipeline"
        raise KingyoError("--component", expected, "none", "Remove --component.")
    return placed


def _bad_names(book: RecipeBook) -> Iterator[KingyoError]:
    for step in book.outputs if len(book.outputs) > 1 else ():
        if not FOLDER_NAME.fullmatch(str(step.name)):
            expected = "a name that can be a folder, since several recipes are written"
            remedy = "Use letters, digits, '.', '_' and '-'."
            yield KingyoError(f"name: {step.name}", expected, f"'{step.name}'", remedy)


def _check_models(recipe: Recipe, models: Models, plan: Plan | None) -> Iterator[Diagnostic]:
    yield from _compare_tokenizers(recipe, models)
    for reference in recipe.references:
        for note in models[reference].notes if reference in models else ():
            expected = "an adapter that has the same effect as in training"
            yield Diagnostic("warning", reference, expected, note, "Check that this is what you want.")
    if plan is None:
        return
    if recipe.base_model is not None and recipe.frame is None and recipe.base_model not in plan.weights_of:
        expected = f"a model that {plan.method.name} merges, among the models"
        received = f"{recipe.base_model}, which gives only config and tokenizer"
        remedy = "To merge it, as mergekit does, list it below models: too."
        yield Diagnostic("warning", "base_model", expected, received, remedy)
    yield from plan.diagnostics
    for marker in plan.vocabulary.unknown_markers if plan.vocabulary is not None else ():
        received = f"'{marker}', which is no token"
        remedy = f"Add it below `tokenizer: tokens:`, as `'{marker}': {{}}`."
        yield Diagnostic("warning", "chat_template", "tokens of the output", received, remedy)


def _compare_tokenizers(recipe: Recipe, models: Models) -> Iterator[Diagnostic]:
    references = dict.fromkeys((recipe.template, *recipe.references))
    folders = {
        reference: models[reference].path
        for reference in references
        if reference in models
        and models[reference].on_disk()
        and "_class_name" not in models[reference].config  # components of pipelines read no text
    }
    try:
        is_aligned = tokenizer_choice(recipe) is not None
    except KingyoError:  # reported as an error of the recipe
        return
    if len(folders) > 1:
        try:
            found = compare(folders, is_aligned=is_aligned, has_template=recipe.chat_template is not None)
            yield from (each for each in found if each.received != "the same files")
        except KingyoError as error:
            yield Diagnostic.of(error)


def _check_outputs(checked: Preflight, *, fetch: bool) -> Iterator[Diagnostic]:
    """Yield what is wrong with the output folders: taken, a source, not writable or too small; and with code.

    If there are no outputs, only ``out`` is checked. ``fetch`` downloads the files of pipelines.
    """
    options, outputs = checked.options, checked.outputs
    for out in [each.out for each in outputs] or [checked.out]:
        try:
            check_free(out, force=options.force)
        except KingyoError as error:
            yield Diagnostic.of(error)
        except OSError as error:
            yield Diagnostic.of(unwritable_error(out, error))
    for each in outputs:
        like, around = each.plan.like, dict[str, Path]()
        try:
            check_no_source(each.plan, each.out)
            if options.pipeline:
                found = whole_pipeline(like, checked.root, fetch=fetch, allow_pickle=options.allow_pickle)
                around = dict(found)
            if options.single_file:
                check_single_file(like, around)
        except KingyoError as error:
            yield Diagnostic.of(error)
    resolved = checked.out.resolve()
    parent = next((each for each in resolved.parents if each.exists()), resolved)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = PermissionError(13, "Permission denied" if parent.is_dir() else f"{parent} is no folder")
        yield Diagnostic.of(unwritable_error(checked.out, reason))
    else:
        needed = (1 + options.single_file) * sum(each.n_bytes for each in outputs)
        free = shutil.disk_usage(parent).free
        if needed > free:
            yield Diagnostic.of(disk_full_error(checked.out, needed, free))
    for template in {id(each.plan.like): each.plan.like for each in outputs}.values():
        if template.runs_code:
            yield _check_code(template, is_copied=options.copy_code)


def _check_code(template: Checkpoint, *, is_copied: bool) -> Diagnostic:
    where, expected = f"the config of {template.reference}", "a model that transformers loads by itself"
    remedy, received = "Read it before you trust it.", "one that names code (auto_map), which is never run"
    if not is_copied:
        return Diagnostic("warning", where, expected, received, f"{remedy} --copy-code copies it.")
    if any(template.path.glob("*.py")):
        return Diagnostic("note", where, expected, received, remedy)
    received, remedy = "no Python files in its folder", "Remove --copy-code, or add the files first."
    return Diagnostic("error", "--copy-code", f"the code of {template.reference}", received, remedy)


_PIPELINE_CODE = """from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained('.')  # this folder"""


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
    """Return the model card of an output, without paths of this machine.

    ``pipeline``: the pipeline around it is written too.
    """
    is_diffusers = output.plan.like.stem != "model"
    front = front_matter(
        output.origins,
        library="diffusers" if is_diffusers else loader.library if loader else "transformers",
        pipeline_tag=loader.pipeline_tag if loader else None,
    )
    book = output.book.with_recipes(lambda recipe: public_recipe(recipe, output.origins))
    note = "`kingyo merge` makes the model from it again."
    untested = "Nobody has scored it: abilities of its source models may be lost."
    sections = {
        "Source models": models_section(output.origins, "role"),
        "Recipe": recipe_section(book.to_yaml(), note),
        "Use": fence(_PIPELINE_CODE, "python") if pipeline else _use(output, loader),
        "Limits": bullets((untested, INHERITED)),
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
    """Return code that loads the model with transformers; None for other models."""
    if loader is None or loader.library != "transformers":
        return None
    has_tokenizer = (output.plan.like.path / "tokenizer_config.json").is_file()
    classes = [loader.auto_class, *(["AutoTokenizer"] if has_tokenizer else [])]
    lines = [f"from transformers import {', '.join(sorted(classes))}", ""]
    if has_tokenizer:
        lines.append("tokenizer = AutoTokenizer.from_pretrained('.')  # this folder")
    lines.append(f"model = {loader.auto_class}.from_pretrained('.', dtype='auto')")
    return fence("\n".join(lines), "python")
