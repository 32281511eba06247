"""Merges of merges: recipes of which some merge what others make, without a weight on disk between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.engine.inner import planned_checkpoint
from kingyo.engine.plan import Plan, plan
from kingyo.engine.sources import Sources, all_references
from kingyo.errors import KingyoError, Refuse, suggest
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.vocabulary.tokenizer_key import BASE, UNION

_MOST_MERGES = 64
"""To read a tensor of a recipe merges that of each recipe below it, once for each way that leads there."""


@dataclass(frozen=True, kw_only=True)
class PlannedSteps:
    """What is known of a book of recipes.

    Attributes:
        models: those that could be opened, and what recipes with names make.
        plans: of the recipes that could be planned, by name.
    """

    models: Mapping[str, Checkpoint]
    plans: Mapping[str | None, Plan]


def plan_book(book: RecipeBook, folder: Path | None = None) -> dict[str | None, Plan]:
    """Plan what a book of recipes is for.

    Args:
        book: the recipes.
        folder: where relative paths begin; the current one when None.

    Returns:
        The plans of ``book.outputs`` by name; what they need of other recipes is computed as they read it.

    Raises:
        KingyoError: a model that cannot be opened, or see ``plan``; the recipe is named if it has a name.
    """

    def refuse(error: KingyoError) -> None:
        raise error

    found = plan_steps(book, folder, refuse)
    return {step.name: found.plans[step.name] for step in book.outputs}


def plan_steps(
    book: RecipeBook,
    folder: Path | None,
    refuse: Refuse,
    *,
    fetch: bool = True,
    allow_pickle: bool = False,
) -> PlannedSteps:
    """Plan every recipe of a book; see ``plan_book``.

    Args:
        book: the recipes.
        folder: where relative paths begin; the current one when None.
        refuse: is told of models that cannot be opened and of recipes that cannot be planned; if it returns,
            what does not depend on that is planned all the same.
        fetch, allow_pickle: see ``open_checkpoint``.
    """
    opened = open_models(book, folder, refuse, fetch=fetch, allow_pickle=allow_pickle)
    plans: dict[str | None, Plan] = {}
    merges: dict[str | None, int] = {}
    for step in book.steps:
        below = [merges.get(each, 0) for each in dict.fromkeys(_references(step.recipe, _ignore))]
        merges[step.name] = 1 + sum(below)
        if merges[step.name] > _MOST_MERGES:
            if max(below) <= _MOST_MERGES:  # those behind it cannot be planned either, and need not be told
                refuse(_too_many(step.name))
            continue
        if not all(reference in opened for reference in _references(step.recipe, refuse)):
            continue
        try:
            found = plans[step.name] = _plan(step, Sources(opened, folder))
        except KingyoError as error:
            refuse(error)
            continue
        if step.name is not None:
            opened[step.name] = planned_checkpoint(step.name, found)
    return PlannedSteps(models=opened, plans=plans)


def open_models(
    book: RecipeBook, folder: Path | None, refuse: Refuse, *, fetch: bool = True, allow_pickle: bool = False
) -> dict[str, Checkpoint]:
    """Open the models of a book; see ``plan_steps``."""
    names = [step.name for step in book.steps if step.name is not None]
    opened: dict[str, Checkpoint] = {}
    tokenizers = {step.recipe.tokenizer_source for step in book.steps}
    for reference in _needed(book, names, refuse):
        try:
            opened[reference] = _open(reference, folder, names, fetch=fetch, allow_pickle=allow_pickle)
        except KingyoError as error:
            refuse(_meant(error, reference) if reference in tokenizers else error)
    return opened


def _ignore(_error: KingyoError) -> None:
    """It was told before."""


def _too_many(name: str | None) -> KingyoError:
    return KingyoError(
        name or "the last recipe",
        expected=f"at most {_MOST_MERGES} merges that one tensor needs, with those of the recipes before it",
        received="more",
        remedy="Write one of those in the middle to a folder of its own, and go on from there.",
    )


def _needed(book: RecipeBook, names: Sequence[str], refuse: Refuse) -> list[str]:
    """The models that the recipes name and that none of them makes, each once."""
    named = dict.fromkeys(each for step in book.steps for each in _references(step.recipe, refuse))
    return [reference for reference in named if reference not in names]


def _references(recipe: Recipe, refuse: Refuse) -> tuple[str, ...]:
    try:
        return all_references(recipe)
    except KingyoError as error:
        refuse(error)
        return recipe.references


def _open(
    reference: str, folder: Path | None, names: list[str], *, fetch: bool, allow_pickle: bool
) -> Checkpoint:
    """Open a model; a reference that is near another name that is known here may be meant for it."""
    try:
        return open_checkpoint(reference, folder, fetch=fetch, allow_pickle=allow_pickle)
    except KingyoError as error:
        near = suggest(reference, names)
        if not near.startswith("Did you mean"):
            raise
        raise KingyoError(
            error.argument,
            expected=f"{error.expected}, or the name of another recipe",
            received=error.received,
            remedy=f"{near} {error.remedy}",
        ) from error


def _meant(error: KingyoError, source: str) -> KingyoError:
    """Of a model that is named for its tokenizer: it may be a slip of one of the words that stand there."""
    near = suggest(source, (BASE, UNION))
    return KingyoError(
        f"tokenizer_source: {error.argument}",
        expected=f"{BASE}, {UNION} or {error.expected}",
        received=error.received,
        remedy=near if near.startswith("Did you mean") else error.remedy,
    )


def _plan(step: NamedRecipe, sources: Sources) -> Plan:
    try:
        return plan(step.recipe, sources)
    except KingyoError as error:
        if step.name is None:
            raise
        raise error.placed(step.name) from error
