"""Plan files of several recipes, where later ones merge the results of earlier ones.

Results of earlier recipes are computed as they are read; only the last ones are written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.checkpoints import Checkpoint, fit
from kingyo.checkpoints.locate import open_together
from kingyo.checkpoints.model_reference import path_from, whole_model
from kingyo.engine.modules import expand_modules
from kingyo.engine.parameters import invalid_parameters, misplaced_parameters, missing_parameters
from kingyo.engine.plan import Plan, planned_checkpoint
from kingyo.engine.planning import plan
from kingyo.engine.sources import Sources
from kingyo.errors import KingyoError, Refuse, nearest, report_errors
from kingyo.methods import METHODS
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.registry import is_in_file, whole_reference
from kingyo.vocabulary import all_references, replaced
from kingyo.vocabulary.tokenizer_key import BASE, UNION


@dataclass(frozen=True, kw_only=True)
class PlannedSteps:
    """The models that could be opened, with the results of recipes by their names, and the plans by name."""

    models: Mapping[str, Checkpoint]
    plans: Mapping[str | None, Plan]


def plan_steps(
    book: RecipeBook, folder: Path, refuse: Refuse, *, fetch: bool = True, allow_pickle: bool = False
) -> PlannedSteps:
    """Plan every recipe of a book.

    Args:
        book: the recipes.
        folder: base of relative paths.
        refuse: receives the errors of models that cannot be opened and of recipes that cannot be planned. If
            it returns, everything that does not depend on them is planned.
        fetch, allow_pickle: see ``open_checkpoint``.
    """
    names = [step.name for step in book.steps if step.name is not None]
    tokenizers = {step.recipe.tokenizer_source for step in book.steps}
    references = [each for step in book.steps for each in references_of(step.recipe) if each not in names]

    def failed(reference: str, error: KingyoError) -> None:
        words = (BASE, UNION) if reference in tokenizers else ()
        refuse(_with_hint(error, reference, (*names, *words)))

    templates = {step.recipe.template for step in book.steps if step.recipe.references}
    models = open_together(
        references, folder, fetch=fetch, allow_pickle=allow_pickle, templates=templates, failed=failed
    )
    plans: dict[str | None, Plan] = {}
    for step in book.steps:
        planned = _plan(step, Sources(models, folder), folder, refuse)
        if planned is not None:
            plans[step.name] = planned
            if step.name is not None:
                models[step.name] = planned_checkpoint(step.name, planned)
    return PlannedSteps(models=models, plans=plans)


def references_of(recipe: Recipe, refuse: Refuse = lambda _: None) -> tuple[str, ...]:
    """Return the references of a recipe; without those of its tokenizer if that is invalid."""
    return report_errors(lambda: all_references(recipe), refuse, recipe.references)


def _with_hint(error: KingyoError, reference: str, known: Sequence[str]) -> KingyoError:
    """Return the error of a model that cannot be opened; it may be a misspelt name of a recipe."""
    near = nearest(reference, known)
    remedy = f"Did you mean '{near}'? {error.remedy}" if near else error.remedy
    return KingyoError(error.argument, expected=error.expected, received=error.received, remedy=remedy)


def _plan(step: NamedRecipe, sources: Sources, folder: Path, refuse: Refuse) -> Plan | None:
    """Plan a recipe; None if it has mistakes or needs models that could not be opened."""
    mistakes: list[KingyoError] = []
    report_errors(lambda: _check_parameters(step.recipe, folder, mistakes.append), mistakes.append, None)
    references = references_of(step.recipe, mistakes.append)
    planned = None
    if not mistakes and all(reference in sources for reference in references):
        planned = report_errors(lambda: plan(step.recipe, sources), mistakes.append, None)
    else:
        _check_fit(step.recipe, sources, mistakes.append)
    for error in mistakes:
        refuse(error if step.name is None else error.placed(step.name))
    return planned


def _check_parameters(recipe: Recipe, folder: Path, refuse: Refuse) -> None:
    """Find all mistakes that need no model: unknown methods, wrong parameters, wrong numbers of models."""
    method = report_errors(lambda: METHODS.get(recipe.merge_method, folder), refuse, None)
    if method is None and (name := nearest(recipe.merge_method, METHODS.names())) is not None:
        method = METHODS.get(name)  # check the parameters of the method that was probably meant
    if method is None:
        return
    for find in (misplaced_parameters, invalid_parameters, missing_parameters):
        for error in find(recipe, method):
            refuse(error)
    if not recipe.path:
        expand_modules(recipe, method)


def _check_fit(recipe: Recipe, sources: Sources, refuse: Refuse) -> None:
    """Find the opened models that do not fit the template of the output."""
    opened = [sources[reference] for reference in recipe.references if reference in sources]
    if (
        recipe.sources
        and opened
        and not (recipe.parts or recipe.frame or recipe.tokenizer or recipe.tokenizer_source)
    ):
        template = sources.get(recipe.template, opened[0])
        for other in opened:
            report_errors(lambda other=other: fit(template, [other], resize=recipe.resize), refuse, None)


def rooted(recipe: Recipe, folder: Path, names: Collection[str] = (), *, out: Path | None = None) -> Recipe:
    """Return a recipe with absolute paths of local files.

    Args:
        recipe: the recipe as written.
        folder: base of its relative paths.
        names: references that are names of other recipes and not paths.
        out: write paths relative to this folder instead, where possible; see ``path_from``.
    """

    def place(reference: str) -> str:
        return reference if reference in names else whole_model(reference, folder, out)

    inner = {name: rooted(each, folder, names, out=out) for name, each in recipe.merges.items()}
    return replace(
        replaced(recipe, place), merge_method=_method(recipe.merge_method, folder, out), merges=inner
    )


def rooted_book(book: RecipeBook, folder: Path, *, out: Path | None = None) -> RecipeBook:
    """Return recipes with absolute paths of local files; see ``rooted``."""
    names = [step.name for step in book.steps if step.name is not None]
    return book.with_recipes(lambda recipe: rooted(recipe, folder, names, out=out))


def _method(method: str, folder: Path, out: Path | None) -> str:
    """Return the name of a method, with the path of its file if a user's file defines it."""
    if out is None or not is_in_file(method):
        return whole_reference(method, folder)
    file, _, name = method.rpartition(":")
    return f"{path_from(out, file, folder)}:{name}"
