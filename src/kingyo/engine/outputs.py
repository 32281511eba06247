"""The models that a merge will write: their folders, recipes, plans and source models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.header import Shard, lay_out
from kingyo.engine.book import PlannedSteps, references_of
from kingyo.engine.folder import out_tensors
from kingyo.engine.options import MergeRequest
from kingyo.engine.plan import Plan
from kingyo.errors import KingyoError, Refuse
from kingyo.lineage import Origin, describe
from kingyo.methods import Reproduces, reproduces
from kingyo.recipe import NamedRecipe, RecipeBook

FOLDER_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True, kw_only=True)
class PlannedOutput:
    """A model that will be written.

    Attributes:
        out: its folder.
        book: the recipes that make it.
        plan: the plan of the last recipe.
        origins: the source models, the base last.
        max_shard_bytes: the largest size of a weight file.
        reproduces: where the recipes give bit-identical results.
    """

    out: Path
    book: RecipeBook
    plan: Plan
    origins: tuple[Origin, ...]
    max_shard_bytes: int
    reproduces: Reproduces

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """Its weight files."""
        return lay_out(out_tensors(self.plan), self.max_shard_bytes, self.plan.like.stem)

    @property
    def n_bytes(self) -> int:
        """Size of its weight files."""
        return sum(shard.n_bytes for shard in self.shards)


def planned_outputs(
    book: RecipeBook, steps: PlannedSteps, request: MergeRequest, refuse: Refuse
) -> Iterator[PlannedOutput]:
    """Yield the outputs of the recipes that could be planned; refuse names that are no folders.

    One output goes to ``request.out``; several go to subfolders with the names of their recipes.
    """
    for step in book.outputs:
        is_alone = len(book.outputs) == 1
        if not is_alone and not FOLDER_NAME.fullmatch(str(step.name)):
            refuse(
                KingyoError(
                    f"name: {step.name}",
                    expected="a name that can be a folder, since several recipes are written",
                    received=f"'{step.name}'",
                    remedy="Use letters, digits, '.', '_' and '-'.",
                )
            )
        elif step.name in steps.plans:
            needed = _needed(book, step)
            yield PlannedOutput(
                out=request.out if is_alone else request.out / str(step.name),
                book=needed,
                plan=steps.plans[step.name],
                origins=origins_of(needed.steps, steps.models, request.root),
                max_shard_bytes=request.options.max_shard_bytes,
                reproduces=_reproduces(needed, steps),
            )


def origins_of(
    steps: Sequence[NamedRecipe], models: Mapping[str, Checkpoint], folder: Path
) -> tuple[Origin, ...]:
    """Return the opened source models of recipes, the bases last; without results of other recipes."""
    names = {step.name for step in steps}
    roles: dict[str, str] = {}
    for step in steps:
        for reference in references_of(step.recipe):
            is_base, is_merged = reference == step.recipe.base_model, reference in step.recipe.references
            role = "base" if is_base else "merged" if is_merged else "vocabulary"
            if reference in models and reference not in names and roles.get(reference) != "base":
                roles[reference] = role
    in_order = sorted(roles, key=lambda reference: roles[reference] == "base")
    return tuple(describe(roles[reference], models[reference], folder) for reference in in_order)


def _reproduces(book: RecipeBook, steps: PlannedSteps) -> Reproduces:
    """Return the weakest guarantee of all methods and models."""
    plans = (steps.plans[step.name] for step in book.steps if step.name in steps.plans)
    guarantees: set[Reproduces] = {reproduces(plan.method) for plan in plans}
    references = {reference for step in book.steps for reference in step.recipe.references}
    if not all(steps.models[each].has_same_bits for each in references & steps.models.keys()):
        guarantees.add("on one machine")
    return max(guarantees, key=get_args(Reproduces).index)


def _needed(book: RecipeBook, last: NamedRecipe) -> RecipeBook:
    """Return a recipe with all recipes that it needs."""
    needed = {last.name}
    for step in reversed(book.steps):  # a step comes after those that it needs
        if step.name in needed:
            needed.update(references_of(step.recipe))
    return RecipeBook(steps=tuple(step for step in book.steps if step.name in needed))
