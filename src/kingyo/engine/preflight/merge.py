"""Check a merge: read recipes, headers, configs, tokenizers and model cards, and report every mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint, fit
from kingyo.checkpoints.locate import whole_pipeline
from kingyo.checkpoints.model_reference import with_component
from kingyo.engine.book import PlannedSteps, open_models, plan_steps
from kingyo.engine.modules import base_of, expand_modules
from kingyo.engine.options import MergeRequest
from kingyo.engine.parameters import invalid_parameters, misplaced_parameters, missing_parameters
from kingyo.engine.preflight.folder import check_output
from kingyo.engine.preflight.models import check_models
from kingyo.engine.preflight.planned import FOLDER_NAME, PlannedOutput, origins_of, planned_outputs
from kingyo.errors import KingyoError, Refuse, attempt, nearest, together
from kingyo.io.units import size_text
from kingyo.lineage import check_licences
from kingyo.methods import METHODS
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook, read_recipes
from kingyo.vocabulary import Diagnostic, replaced


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The result of checking a merge.

    Attributes:
        request: the arguments.
        steps: the opened models, and the plans of all recipes.
        targets: the outputs that could be planned.
        findings: errors, then warnings, then notes.
    """

    request: MergeRequest
    steps: PlannedSteps
    targets: tuple[PlannedOutput, ...]
    findings: tuple[Diagnostic, ...]

    def of(self, level: str) -> tuple[Diagnostic, ...]:
        """Return the findings of a level: ``error``, ``warning`` or ``note``."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def n_missing(self) -> int:
        """Bytes of weights that are still on the Hub; a model with several LoRAs counts once."""
        missing = {model.path: model.n_missing for model in self.steps.models.values()}
        return sum(missing.values())

    @property
    def error(self) -> KingyoError | None:
        """All errors as one, or None."""
        errors = [finding.error for finding in self.of("error")]
        return together(self.request.name, errors, "a merge that can be done") if errors else None


def check_merge(request: MergeRequest, *, fetch: bool = True) -> Preflight:
    """Check the recipes, models and output folder of a merge.

    Args:
        request: the arguments of the merge.
        fetch: whether to download weights of models on the Hub; without them nothing can be merged.

    Raises:
        KingyoError: the file does not contain recipes. All other mistakes are in ``findings``.
    """
    refused: list[KingyoError] = []
    given = request.recipe
    read = given if isinstance(given, RecipeBook) else read_recipes(given, refused.append)
    if read is None:
        raise together(request.name, refused, "valid recipes")
    is_complete = not refused
    book = _with_component(_seeded(read, request.options.seed), request)
    steps = _steps(book, request, refused.append, is_complete=is_complete, fetch=fetch)
    mistakes = [
        error
        for step in book.steps
        if step.name not in steps.plans
        for error in _mistakes(step, steps.models, request, is_complete=is_complete)
    ]
    known = {(error.expected, error.received) for error in mistakes}
    others = [error for error in refused if (error.expected, error.received) not in known]
    targets, misnamed = planned_outputs(book, steps, request)
    findings = [*map(Diagnostic.of, (*others, *mistakes)), *misnamed, *_not_downloaded(steps.models)]
    for step in book.steps:
        findings += check_models(step.recipe, steps.models, steps.plans.get(step.name))
    origins = origins_of(book.steps, steps.models, request.root)
    findings += check_licences(origins, is_allowed=request.options.ignore_licences)
    findings += check_output(request, targets)
    findings += _pipelines(targets, request, fetch=fetch)
    return Preflight(request=request, steps=steps, targets=targets, findings=_sorted(findings))


def _steps(
    book: RecipeBook, request: MergeRequest, refuse: Refuse, *, is_complete: bool, fetch: bool
) -> PlannedSteps:
    """Plan the recipes; if they were not read completely, only open their models."""
    allow_pickle = request.options.allow_pickle
    if is_complete:
        return plan_steps(book, request.root, refuse, fetch=fetch, allow_pickle=allow_pickle)
    models = open_models(book, request.root, refuse, fetch=False, allow_pickle=allow_pickle)
    return PlannedSteps(models=models, plans={})


def _seeded(book: RecipeBook, seed: int | None) -> RecipeBook:
    if seed is None:
        return book
    return RecipeBook(
        steps=tuple(replace(step, recipe=replace(step.recipe, seed=seed)) for step in book.steps)
    )


def _with_component(book: RecipeBook, request: MergeRequest) -> RecipeBook:
    """Replace complete pipelines by the requested component.

    Raises:
        KingyoError: the component has an invalid name, or no recipe names a pipeline.
    """
    component = request.options.component
    if component is None:
        return book
    if not FOLDER_NAME.fullmatch(component):
        raise KingyoError(
            "--component",
            expected="the name of a pipeline's component",
            received=f"'{component}'",
            remedy="Name one folder of the pipelines, such as unet.",
        )
    names = [step.name for step in book.steps]

    def place(reference: str) -> str:
        return reference if reference in names else with_component(reference, component, request.root)

    placed = RecipeBook(
        steps=tuple(replace(step, recipe=replaced(step.recipe, place)) for step in book.steps)
    )
    if placed == book:
        raise KingyoError(
            "--component",
            expected="recipes that name a complete diffusers pipeline",
            received="recipes that name none",
            remedy="Remove --component.",
        )
    return placed


def _mistakes(
    step: NamedRecipe, models: Mapping[str, Checkpoint], request: MergeRequest, *, is_complete: bool
) -> Iterator[KingyoError]:
    """Yield the mistakes of a recipe that could not be planned.

    Args:
        step: the recipe.
        models: the models that could be opened.
        request: the arguments of the merge.
        is_complete: whether the recipe was read completely.
    """
    errors = _wrong_parameters(step.recipe, request, is_complete=is_complete)
    if is_complete:
        errors += _misfits(step.recipe, models)
    yield from (error if step.name is None else error.placed(step.name) for error in errors)


def _wrong_parameters(recipe: Recipe, request: MergeRequest, *, is_complete: bool) -> list[KingyoError]:
    errors: list[KingyoError] = []
    method = attempt(lambda: METHODS.get(recipe.merge_method, request.root), errors.append, None)
    if method is None and (name := nearest(recipe.merge_method, METHODS.names())) is not None:
        method = METHODS.get(name)  # check the parameters of the method that was probably meant
    if method is None:
        return errors
    misplaced = list(misplaced_parameters(recipe, method))
    errors += [*misplaced, *invalid_parameters(recipe, method)]
    if recipe.sources:
        attempt(lambda: base_of(recipe.base_model, method), errors.append, None)
    if is_complete and not recipe.path:
        errors += missing_parameters(recipe, method)
        if not misplaced:
            attempt(lambda: expand_modules(recipe, method), errors.append, ())
    return errors


def _misfits(recipe: Recipe, models: Mapping[str, Checkpoint]) -> list[KingyoError]:
    """Return the errors of models that do not fit the template of the output."""
    opened = [models[reference] for reference in recipe.references if reference in models]
    errors: list[KingyoError] = []
    if recipe.sources and opened and not (recipe.parts or recipe.tokenizer or recipe.tokenizer_source):
        template = models.get(recipe.base_model or recipe.references[0], opened[0])
        for other in opened:
            attempt(lambda other=other: fit(template, [other], resize=recipe.resize), errors.append, None)
    return errors


def _not_downloaded(models: Mapping[str, Checkpoint]) -> Iterator[Diagnostic]:
    for reference, model in models.items():
        if model.n_missing:
            yield Diagnostic(
                level="note",
                argument=reference,
                expected="weights on this machine",
                received=f"headers alone; {size_text(model.n_missing)} are on the Hub",
                remedy="The merge downloads them first.",
            )


def _pipelines(
    targets: Sequence[PlannedOutput], request: MergeRequest, *, fetch: bool
) -> Iterator[Diagnostic]:
    """Yield the errors of pipelines that are written around the outputs."""
    options = request.options
    for target in targets if options.pipeline else ():
        try:
            whole_pipeline(target.plan.like, request.root, fetch=fetch, allow_pickle=options.allow_pickle)
        except KingyoError as error:
            yield Diagnostic.of(error)


def _sorted(findings: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the findings, errors first, each once."""
    order = ("error", "warning", "note")
    return tuple(sorted(dict.fromkeys(findings), key=lambda each: order.index(each.level)))
