"""Check a merge: read recipes, headers, configs, tokenizers and model cards, and report every mistake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints.model_reference import with_component
from kingyo.engine.book import PlannedSteps, plan_steps
from kingyo.engine.findings import check_models, check_outputs, not_downloaded
from kingyo.engine.options import MergeRequest
from kingyo.engine.outputs import FOLDER_NAME, PlannedOutput, origins_of, planned_outputs
from kingyo.errors import KingyoError, combined_error
from kingyo.lineage import check_licences
from kingyo.recipe import RecipeBook, load_recipes
from kingyo.vocabulary import Diagnostic, replaced


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The result of checking a merge: what could be planned, and errors, then warnings, then notes."""

    request: MergeRequest
    steps: PlannedSteps
    outputs: tuple[PlannedOutput, ...]
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
        return combined_error(self.request.name, errors, "a merge that can be done") if errors else None


def check_merge(request: MergeRequest, *, fetch: bool = True) -> Preflight:
    """Check the recipes, models and output folder of a merge.

    Args:
        request: the arguments of the merge.
        fetch: whether to download weights of models on the Hub; without them nothing can be merged.

    Raises:
        KingyoError: the file does not contain recipes, or they have mistakes in their form. All others are in
            ``findings``.
    """
    options, refused = request.options, list[KingyoError]()
    book = _book(request)
    steps = plan_steps(book, request.root, refused.append, fetch=fetch, allow_pickle=options.allow_pickle)
    outputs = tuple(planned_outputs(book, steps, request, refused.append))
    findings = [*map(Diagnostic.of, refused), *not_downloaded(steps.models)]
    for step in book.steps:
        findings += check_models(step.recipe, steps.models, steps.plans.get(step.name))
    origins = origins_of(book.steps, steps.models, request.root)
    licences = [pair for origin in origins for pair in origin.licences]
    findings += check_licences(licences, is_allowed=options.ignore_licences)
    findings += check_outputs(request, outputs, fetch=fetch)
    return Preflight(request=request, steps=steps, outputs=outputs, findings=_sorted(findings))


def _book(request: MergeRequest) -> RecipeBook:
    """Return the recipes with the seed and the component of the options."""
    given, seed = request.recipe, request.options.seed
    book = given if isinstance(given, RecipeBook) else load_recipes(given)
    if seed is not None:
        book = book.with_recipes(lambda recipe: replace(recipe, seed=seed))
    component = request.options.component
    return book if component is None else _with_component(book, component, request)


def _with_component(book: RecipeBook, component: str, request: MergeRequest) -> RecipeBook:
    """Replace complete pipelines by the requested component."""
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

    placed = book.with_recipes(lambda recipe: replaced(recipe, place))
    if placed == book:
        raise KingyoError(
            "--component",
            expected="recipes that name a complete diffusers pipeline",
            received="recipes that name none",
            remedy="Remove --component.",
        )
    return placed


def _sorted(findings: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the findings, errors first, each once."""
    order = ("error", "warning", "note")
    return tuple(sorted(dict.fromkeys(findings), key=lambda each: order.index(each.level)))
