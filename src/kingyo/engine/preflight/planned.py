"""The models that a merge will write: their folders, recipes, plans and source models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.header import Shard, lay_out
from kingyo.engine.book import PlannedSteps, references_of
from kingyo.engine.folder import count_kept, out_tensors
from kingyo.engine.options import MergeOptions, MergeRequest
from kingyo.engine.plan import Plan
from kingyo.lineage import Origin, describe
from kingyo.methods import Reproduces, reproduces
from kingyo.recipe import NamedRecipe, RecipeBook
from kingyo.vocabulary import Diagnostic

FOLDER_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True, kw_only=True)
class PlannedOutput:
    """A model that will be written.

    Attributes:
        out: its folder.
        book: the recipes that make it.
        plan: the plan of the last recipe.
        origins: the source models, the base last.
        options: options of the merge.
        reproduces: where the recipes give bit-identical results.
    """

    out: Path
    book: RecipeBook
    plan: Plan
    origins: tuple[Origin, ...]
    options: MergeOptions
    reproduces: Reproduces

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """Its weight files."""
        return lay_out(out_tensors(self.plan), self.options.max_shard_bytes, self.plan.like.stem)

    @property
    def n_bytes(self) -> int:
        """Size of its weight files."""
        return sum(shard.n_bytes for shard in self.shards)

    @property
    def n_kept(self) -> int:
        """Number of weight files that are kept from an interrupted merge.

        Raises:
            KingyoError: the folder cannot be written.
        """
        return count_kept(self.plan, self.out, self.options)


def planned_outputs(
    book: RecipeBook, steps: PlannedSteps, request: MergeRequest
) -> tuple[tuple[PlannedOutput, ...], list[Diagnostic]]:
    """Return the outputs of the recipes that could be planned, and errors of names that are no folders.

    One output goes to ``request.out``; several go to subfolders with the names of their recipes.
    """
    outputs, errors = list[PlannedOutput](), list[Diagnostic]()
    for step in book.outputs:
        out = request.out
        if len(book.outputs) > 1:
            out = request.out / str(step.name)
            if not FOLDER_NAME.fullmatch(str(step.name)):
                errors.append(_misnamed(str(step.name)))
                continue
        if step.name in steps.plans:
            needed = _needed(book, step)
            outputs.append(
                PlannedOutput(
                    out=out,
                    book=needed,
                    plan=steps.plans[step.name],
                    origins=origins_of(needed.steps, steps.models, request.root),
                    options=request.options,
                    reproduces=_reproduces(needed, steps),
                )
            )
    return tuple(outputs), errors


def origins_of(
    steps: Sequence[NamedRecipe], models: Mapping[str, Checkpoint], folder: Path
) -> tuple[Origin, ...]:
    """Return the opened source models of recipes, the bases last; without results of other recipes.

    Args:
        steps: the recipes.
        models: the opened models by reference.
        folder: base of relative paths.
    """
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


def _misnamed(name: str) -> Diagnostic:
    return Diagnostic(
        level="error",
        argument=f"name: {name}",
        expected="a name that can be a folder, since several recipes are written",
        received=f"'{name}'",
        remedy="Use letters, digits, '.', '_' and '-'.",
    )


def _needed(book: RecipeBook, last: NamedRecipe) -> RecipeBook:
    """Return a recipe with all recipes that it needs."""
    by_name = {step.name: step for step in book.steps}
    needed: dict[str | None, None] = {}

    def visit(step: NamedRecipe) -> None:
        needed[step.name] = None
        for reference in references_of(step.recipe):
            if reference in by_name and reference not in needed:
                visit(by_name[reference])

    visit(last)
    return RecipeBook(steps=tuple(step for step in book.steps if step.name in needed))
