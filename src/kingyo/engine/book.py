"""Plan files of several recipes, where later ones merge the results of earlier ones.

Results of earlier recipes are computed as they are read; only the last ones are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.engine.plan import Plan
from kingyo.engine.planned_checkpoint import planned_checkpoint
from kingyo.engine.planning import plan
from kingyo.engine.sources import Sources
from kingyo.errors import KingyoError, Refuse, suggest
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.vocabulary import all_references
from kingyo.vocabulary.tokenizer_key import BASE, UNION

_MAX_MERGES = 64
"""Reading a tensor of a recipe merges the tensor of each recipe below it, once for each path to it."""


@dataclass(frozen=True, kw_only=True)
class PlannedSteps:
    """The planned recipes of a book.

    Attributes:
        models: the models that could be opened, and the results of recipes by their names.
        plans: plans of the recipes that could be planned, by name.
    """

    models: Mapping[str, Checkpoint]
    plans: Mapping[str | None, Plan]


def plan_book(book: RecipeBook, folder: Path | None = None) -> dict[str | None, Plan]:
    """Plan the outputs of a book of recipes.

    Args:
        book: the recipes.
        folder: base of relative paths; None: the working directory.

    Returns:
        The plans of ``book.outputs`` by name. They compute the results of other recipes as they read them.

    Raises:
        KingyoError: a model cannot be opened, or see ``plan``; the message has the recipe's name.
    """

    def refuse(error: KingyoError) -> None:
        raise error

    plans = plan_steps(book, folder, refuse).plans
    return {step.name: plans[step.name] for step in book.outputs}


def plan_steps(
    book: RecipeBook,
    folder: Path | None,
    refuse: Refuse,
    *,
    fetch: bool = True,
    allow_pickle: bool = False,
) -> PlannedSteps:
    """Plan every recipe of a book.

    Args:
        book: the recipes.
        folder: base of relative paths; None: the working directory.
        refuse: receives the errors of models that cannot be opened and of recipes that cannot be planned. If
            it returns, everything that does not depend on them is planned.
        fetch, allow_pickle: see ``open_checkpoint``.
    """
    models = open_models(book, folder, refuse, fetch=fetch, allow_pickle=allow_pickle)
    plans: dict[str | None, Plan] = {}
    merges: dict[str | None, int] = {}
    for step in book.steps:
        below = [merges.get(each, 0) for each in dict.fromkeys(references_of(step.recipe))]
        merges[step.name] = 1 + sum(below)
        if merges[step.name] > _MAX_MERGES:
            if max(below) <= _MAX_MERGES:  # one error is enough for all recipes above it
                refuse(_too_many(step.name))
            continue
        if not all(reference in models for reference in references_of(step.recipe, refuse)):
            continue
        try:
            planned = plans[step.name] = _plan(step, Sources(models, folder))
        except KingyoError as error:
            refuse(error)
            continue
        if step.name is not None:
            models[step.name] = planned_checkpoint(step.name, planned)
    return PlannedSteps(models=models, plans=plans)


def open_models(
    book: RecipeBook, folder: Path | None, refuse: Refuse, *, fetch: bool = True, allow_pickle: bool = False
) -> dict[str, Checkpoint]:
    """Open the models of a book; see ``plan_steps``."""
    names = [step.name for step in book.steps if step.name is not None]
    models: dict[str, Checkpoint] = {}
    tokenizers = {step.recipe.tokenizer_source for step in book.steps}
    references = dict.fromkeys(each for step in book.steps for each in references_of(step.recipe, refuse))
    for reference in references:
        if reference in names:
            continue
        try:
            models[reference] = _open(reference, folder, names, fetch=fetch, allow_pickle=allow_pickle)
        except KingyoError as error:
            refuse(_of_tokenizer(error, reference) if reference in tokenizers else error)
    return models


def references_of(recipe: Recipe, refuse: Refuse = lambda _: None) -> tuple[str, ...]:
    """Return the references of a recipe; without those of its tokenizer if that is invalid."""
    try:
        return all_references(recipe)
    except KingyoError as error:
        refuse(error)
        return recipe.references


def _too_many(name: str | None) -> KingyoError:
    return KingyoError(
        name or "the last recipe",
        expected=f"at most {_MAX_MERGES} merges for one tensor, including the recipes before it",
        received="more",
        remedy="Write a recipe in the middle to a separate folder, and continue from there.",
    )


def _open(
    reference: str, folder: Path | None, names: Sequence[str], *, fetch: bool, allow_pickle: bool
) -> Checkpoint:
    """Open a model; if that fails, the error suggests a recipe with a similar name."""
    try:
        return open_checkpoint(reference, folder, fetch=fetch, allow_pickle=allow_pickle)
    except KingyoError as error:
        hint = suggest(reference, names)
        if not hint.startswith("Did you mean"):
            raise
        raise KingyoError(
            error.argument,
            expected=f"{error.expected}, or the name of another recipe",
            received=error.received,
            remedy=f"{hint} {error.remedy}",
        ) from error


def _of_tokenizer(error: KingyoError, source: str) -> KingyoError:
    """Return the error of a model in ``tokenizer_source``, where a keyword may be misspelt."""
    hint = suggest(source, (BASE, UNION))
    return KingyoError(
        f"tokenizer_source: {error.argument}",
        expected=f"{BASE}, {UNION} or {error.expected}",
        received=error.received,
        remedy=hint if hint.startswith("Did you mean") else error.remedy,
    )


def _plan(step: NamedRecipe, sources: Sources) -> Plan:
    try:
        return plan(step.recipe, sources)
    except KingyoError as error:
        if step.name is None:
            raise
        raise error.placed(step.name) from error
