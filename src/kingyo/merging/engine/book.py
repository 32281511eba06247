"""Plan files of several recipes, where later ones merge the results of earlier ones.

Results of earlier recipes are computed as they are read; only the last ones are written.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.errors import KingyoError, Refuse, nearest, report_errors
from kingyo.merging.checkpoints import Checkpoint, fit
from kingyo.merging.checkpoints.locate import open_together
from kingyo.merging.checkpoints.model_reference import path_from, whole_model
from kingyo.merging.checkpoints.writer import Shard, lay_out
from kingyo.merging.engine.modules import expand_modules
from kingyo.merging.engine.parameters import parameter_mistakes
from kingyo.merging.engine.plan import Plan, plan, planned_checkpoint
from kingyo.merging.engine.results import out_tensors
from kingyo.merging.engine.sources import Sources
from kingyo.merging.lineage import Origin, describe
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.merging.vocabulary import all_references, replaced
from kingyo.merging.vocabulary.tokenizer_key import BASE, UNION
from kingyo.registry import is_in_file, whole_reference

FOLDER_NAME = re.compile(r"\w[\w.+-]*")
Models = Mapping[str, Checkpoint]
Plans = Mapping[str | None, Plan]
"""Plans by the names of their recipes."""


@dataclass(frozen=True, kw_only=True)
class PlannedOutput:
    """A model that will be written."""

    out: Path
    book: RecipeBook  # the recipes that make it
    plan: Plan  # of the last recipe
    origins: tuple[Origin, ...]  # the source models, the base last
    shards: tuple[Shard, ...]  # its weight files

    @property
    def n_bytes(self) -> int:
        return sum(shard.n_bytes for shard in self.shards)


def plan_steps(
    book: RecipeBook, folder: Path, refuse: Refuse, *, fetch: bool = True, allow_pickle: bool = False
) -> tuple[Models, Plans]:
    """Plan every recipe of a book; for ``fetch`` and ``allow_pickle`` see ``open_checkpoint``.

    ``refuse`` receives the errors of models that cannot be opened and of recipes that cannot be planned. If
    it returns, everything that does not depend on them is planned.

    Returns:
        The models that could be opened, with the results of recipes by their names; and the plans.
    """
    names = [step.name for step in book.steps if step.name is not None]
    tokenizers = {step.recipe.tokenizer_source for step in book.steps}
    references = [each for step in book.steps for each in references_of(step.recipe) if each not in names]

    def failed(reference: str, error: KingyoError) -> None:
        words = (BASE, UNION) if reference in tokenizers else ()
        near = nearest(reference, (*names, *words))  # it may be a misspelt name of a recipe
        remedy = f"Did you mean '{near}'? {error.remedy}" if near else error.remedy
        refuse(KingyoError(error.argument, error.expected, error.received, remedy))

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
    return models, plans


def references_of(recipe: Recipe, refuse: Refuse = lambda _: None) -> tuple[str, ...]:
    """Return the references of a recipe; without those of its tokenizer if that is invalid."""
    return report_errors(lambda: all_references(recipe), refuse, recipe.references)


def _plan(step: NamedRecipe, sources: Sources, folder: Path, refuse: Refuse) -> Plan | None:
    recipe, mistakes, planned = step.recipe, list[KingyoError](), None
    report_errors(lambda: _check_parameters(recipe, folder, mistakes.append), mistakes.append, None)
    references = references_of(recipe, mistakes.append)
    if not mistakes and all(reference in sources for reference in references):
        planned = report_errors(lambda: plan(recipe, sources), mistakes.append, None)
    elif recipe.sources and not (
        recipe.parts or recipe.frame or recipe.tokenizer or recipe.tokenizer_source
    ):  # find the opened models that do not fit
        opened = [sources[reference] for reference in recipe.references if reference in sources]
        for other in opened:
            template = sources.get(recipe.template, opened[0])
            report_errors(
                lambda a=template, b=other: fit(a, [b], resize=recipe.resize), mistakes.append, None
            )
    for error in mistakes:
        refuse(error if step.name is None else error.placed(step.name))
    return planned


def _check_parameters(recipe: Recipe, folder: Path, refuse: Refuse) -> None:
    method = report_errors(lambda: METHODS.get(recipe.merge_method, folder), refuse, None)
    if method is None and (name := nearest(recipe.merge_method, METHODS.names())) is not None:
        method = METHODS.get(name)  # check the parameters of the method that was probably meant
    if method is None:
        return
    for error in parameter_mistakes(recipe, method):
        refuse(error)
    if not recipe.path:
        expand_modules(recipe, method)


def planned_outputs(
    book: RecipeBook, models: Models, plans: Plans, out: Path, *, folder: Path, max_shard_bytes: int
) -> Iterator[PlannedOutput]:
    """Yield the outputs of the recipes that could be planned.

    One output goes to ``out``; several go to subfolders with the names of their recipes.
    """
    for last in book.outputs:
        if last.name not in plans:
            continue
        needed, planned = {last.name}, plans[last.name]
        for step in reversed(book.steps):  # a step comes after those that it needs
            if step.name in needed:
                needed.update(references_of(step.recipe))
        steps = tuple(step for step in book.steps if step.name in needed)
        yield PlannedOutput(
            out=out if len(book.outputs) == 1 else out / str(last.name),
            book=RecipeBook(steps=steps),
            plan=planned,
            origins=origins_of(steps, models, folder),
            shards=lay_out(out_tensors(planned), max_shard_bytes, planned.like.stem),
        )


def origins_of(steps: Sequence[NamedRecipe], models: Models, folder: Path) -> tuple[Origin, ...]:
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


def rooted(recipe: Recipe, folder: Path, names: Collection[str] = (), *, out: Path | None = None) -> Recipe:
    """Return a recipe with absolute paths of local files.

    Args:
        names: references that are names of other recipes and not paths.
        out: write paths relative to this folder instead, where possible; see ``path_from``.
    """

    def place(reference: str) -> str:
        return reference if reference in names else whole_model(reference, folder, out)

    method = whole_reference(recipe.merge_method, folder)
    if out is not None and is_in_file(recipe.merge_method):
        file, _, name = recipe.merge_method.rpartition(":")
        method = f"{path_from(out, file, folder)}:{name}"
    inner = {name: rooted(each, folder, names, out=out) for name, each in recipe.merges.items()}
    return replace(replaced(recipe, place), merge_method=method, merges=inner)


def rooted_book(book: RecipeBook, folder: Path, *, out: Path | None = None) -> RecipeBook:
    names = [step.name for step in book.steps if step.name is not None]
    return book.with_recipes(lambda recipe: rooted(recipe, folder, names, out=out))
