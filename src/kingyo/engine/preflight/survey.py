"""All that can be known of a merge before a weight is touched: what will be written, and everything wrong.

Nothing stops at the first mistake. It reads recipes, headers, configs, tokenizers and model cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

from kingyo.checkpoints import Checkpoint, fit
from kingyo.checkpoints.pipelines import whole_pipeline
from kingyo.checkpoints.reference import with_component
from kingyo.checkpoints.shards import Shard, lay_out
from kingyo.engine import MergeOptions, Plan
from kingyo.engine.book import PlannedSteps, open_models, plan_steps
from kingyo.engine.folder import count_kept, out_tensors
from kingyo.engine.modules import base_of, expand_modules
from kingyo.engine.options import MergeRequest
from kingyo.engine.preflight.checks import check_models, check_output
from kingyo.engine.preflight.parameters import missing_values, parameter_errors
from kingyo.errors import KingyoError, Refuse, attempt, nearest, together
from kingyo.io.units import size_text
from kingyo.lineage import Origin, check_licences, describe
from kingyo.methods import METHODS, Reproduces, reproduces
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook, read_recipes
from kingyo.vocabulary import Diagnostic, all_references, replaced

_FOLDER = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True, kw_only=True)
class PlannedOutput:
    """One model that will be written.

    Attributes:
        out: its folder.
        book: the recipes that make it.
        plan: of the last of them.
        origins: the models that go in, the base last.
        options: of the merge.
        reproduces: where the same recipes give the same bits again.
    """

    out: Path
    book: RecipeBook
    plan: Plan
    origins: tuple[Origin, ...]
    options: MergeOptions
    reproduces: Reproduces

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """Its files of weights."""
        return lay_out(out_tensors(self.plan), self.options.max_shard_bytes, self.plan.like.stem)

    @property
    def n_bytes(self) -> int:
        """The bytes of these files."""
        return sum(shard.n_bytes for shard in self.shards)

    @property
    def n_kept(self) -> int:
        """How many of them an interrupted merge has left, which will be kept.

        Raises:
            KingyoError: the folder cannot be written.
        """
        return count_kept(self.plan, self.out, self.options)


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What is known of a merge.

    Attributes:
        request: what was asked for.
        steps: the opened models, and the plans of all recipes.
        targets: what will be written, as far as it could be planned.
        findings: errors first, then warnings, then notes.
    """

    request: MergeRequest
    steps: PlannedSteps
    targets: tuple[PlannedOutput, ...]
    findings: tuple[Diagnostic, ...]

    def of(self, level: str) -> tuple[Diagnostic, ...]:
        """The findings of a level: ``error``, ``warning`` or ``note``."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def n_missing(self) -> int:
        """Bytes of weights that are still on the Hub; a model with several LoRAs counts once."""
        found = {model.path: model.n_missing for model in self.steps.models.values()}
        return sum(found.values())

    @property
    def error(self) -> KingyoError | None:
        """Everything wrong as one error; None when nothing is."""
        errors = [finding.error for finding in self.of("error")]
        return together(self.request.name, errors, "a merge that can be done") if errors else None


def survey(request: MergeRequest, *, fetch: bool = True) -> Preflight:
    """Look at a recipe file, its models and its place.

    Args:
        request: what is asked for.
        fetch: whether weights of models on the Hub are fetched; without them nothing can be merged.

    Raises:
        KingyoError: the file cannot be read as recipes. All that is wrong beyond that is among the findings.
    """
    refused: list[KingyoError] = []
    read = _read(request.recipe, refused.append)
    if read is None:
        raise together(request.name, refused, "sound recipes")
    book, is_whole = _of_component(_seeded(read, request.options.seed), request), not refused
    steps = _steps(book, request, refused.append, is_whole=is_whole, fetch=fetch)
    unplanned = [step for step in book.steps if step.name not in steps.plans]
    more = [
        error
        for step in unplanned
        for error in _wrong_with(step, steps.models, request.root, is_whole=is_whole)
    ]
    known = {(error.expected, error.received) for error in more}
    first = [error for error in refused if (error.expected, error.received) not in known]
    targets, misnamed = _targets(book, steps, request)
    findings = [*map(Diagnostic.of, (*first, *more)), *misnamed, *_not_fetched(steps.models)]
    for step in book.steps:
        findings += check_models(step.recipe, steps.models, steps.plans.get(step.name))
    origins = _origins(book.steps, steps.models, request.root)
    findings += check_licences(origins, is_allowed=request.options.ignore_licences)
    findings += check_output(request, [(target.out, target.plan, target.n_bytes) for target in targets])
    findings += _pipelines(targets, request, fetch=fetch)
    return Preflight(request=request, steps=steps, targets=targets, findings=_in_order(findings))


def _pipelines(
    targets: Sequence[PlannedOutput], request: MergeRequest, *, fetch: bool
) -> Iterator[Diagnostic]:
    """What is wrong with the pipelines that are written around the targets."""
    options = request.options
    for target in targets if options.pipeline else ():
        like = target.plan.like
        try:
            whole_pipeline(like, request.root, fetch=fetch, allow_pickle=options.allow_pickle)
        except KingyoError as error:
            yield Diagnostic.of(error)


def _read(recipe: Path | RecipeBook, refuse: Refuse) -> RecipeBook | None:
    return recipe if isinstance(recipe, RecipeBook) else read_recipes(recipe, refuse)


def _steps(
    book: RecipeBook, request: MergeRequest, refuse: Refuse, *, is_whole: bool, fetch: bool
) -> PlannedSteps:
    """Plan the recipes; of those that could not be read whole, the models are opened all the same."""
    if is_whole:
        return plan_steps(book, request.root, refuse, fetch=fetch, allow_pickle=request.options.allow_pickle)
    models = open_models(book, request.root, refuse, fetch=False, allow_pickle=request.options.allow_pickle)
    return PlannedSteps(models=models, plans={})


def _not_fetched(models: Mapping[str, Checkpoint]) -> Iterator[Diagnostic]:
    for reference, model in models.items():
        if model.n_missing:
            yield Diagnostic(
                level="note",
                argument=reference,
                expected="weights on this machine",
                received=f"headers alone; {size_text(model.n_missing)} are on the Hub",
                remedy="The merge fetches them first.",
            )


def _seeded(book: RecipeBook, seed: int | None) -> RecipeBook:
    if seed is None:
        return book
    return RecipeBook(
        steps=tuple(replace(step, recipe=replace(step.recipe, seed=seed)) for step in book.steps)
    )


def _of_component(book: RecipeBook, request: MergeRequest) -> RecipeBook:
    """The recipes, of which pipelines that they name whole are the component that was asked for.

    Raises:
        KingyoError: that is no name of a component, or no recipe names a pipeline.
    """
    component = request.options.component
    if component is None:
        return book
    if not _FOLDER.fullmatch(component):
        raise KingyoError(
            "--component",
            expected="the name of a pipeline's component",
            received=f"'{component}'",
            remedy="Name one folder of the pipelines, such as unet.",
        )
    names = [step.name for step in book.steps]

    def place(reference: str) -> str:
        return reference if reference in names else with_component(reference, component, request.root)

    found = RecipeBook(steps=tuple(replace(step, recipe=replaced(step.recipe, place)) for step in book.steps))
    if found == book:
        raise KingyoError(
            "--component",
            expected="recipes that name a whole pipeline of diffusers",
            received="recipes that name none",
            remedy="Leave it out.",
        )
    return found


def _wrong_with(
    step: NamedRecipe, models: Mapping[str, Checkpoint], folder: Path, *, is_whole: bool
) -> Iterator[KingyoError]:
    for error in _mistakes(step.recipe, models, folder, is_whole=is_whole):
        yield error if step.name is None else error.placed(step.name)


def _mistakes(
    recipe: Recipe, models: Mapping[str, Checkpoint], folder: Path, *, is_whole: bool
) -> Iterator[KingyoError]:
    """What is wrong with a recipe that was not planned, or with what could be read of it."""
    wrong: list[KingyoError] = []
    method = attempt(lambda: METHODS.get(recipe.merge_method, folder), wrong.append, None)
    if method is None and (near := nearest(recipe.merge_method, METHODS.names())) is not None:
        method = METHODS.get(near)  # most likely meant, so its parameters are too
    if method is not None:
        wrong += parameter_errors(recipe, method)
        if recipe.sources:
            attempt(lambda: base_of(recipe.base_model, method), wrong.append, None)
        if is_whole and not recipe.path:
            wrong += missing_values(recipe, method)
            attempt(lambda: expand_modules(recipe, method), wrong.append, ())
    yield from wrong
    opened = [models[reference] for reference in recipe.references if reference in models]
    is_plain = recipe.sources and not recipe.parts and not recipe.tokenizer and not recipe.tokenizer_source
    if is_whole and is_plain and opened:
        like = models.get(recipe.base_model or recipe.references[0], opened[0])
        for other in opened:
            try:
                fit(like, [other], resize=recipe.resize)
            except KingyoError as error:
                yield error


def _targets(
    book: RecipeBook, steps: PlannedSteps, request: MergeRequest
) -> tuple[tuple[PlannedOutput, ...], list[Diagnostic]]:
    outputs, targets, misnamed = book.outputs, list[PlannedOutput](), list[Diagnostic]()
    for step in outputs:
        out = request.out
        if len(outputs) > 1:
            name = str(step.name)
            if not _FOLDER.fullmatch(name):
                misnamed.append(_misnamed(name))
                continue
            out = request.out / name
        if step.name in steps.plans:
            own = _below(book, step)
            targets.append(
                PlannedOutput(
                    out=out,
                    book=own,
                    plan=steps.plans[step.name],
                    origins=_origins(own.steps, steps.models, request.root),
                    options=request.options,
                    reproduces=_reproduces(own, steps),
                )
            )
    return tuple(targets), misnamed


def _reproduces(book: RecipeBook, steps: PlannedSteps) -> Reproduces:
    """Return the narrowest promise of all methods and of all models."""
    plans = (steps.plans[step.name] for step in book.steps if step.name in steps.plans)
    promises: set[Reproduces] = {reproduces(plan.method) for plan in plans}
    named = {reference for step in book.steps for reference in step.recipe.references}
    if not all(steps.models[each].has_same_bits for each in named & steps.models.keys()):
        promises.add("on one machine")
    return max(promises, key=get_args(Reproduces).index)


def _misnamed(name: str) -> Diagnostic:
    return Diagnostic(
        level="error",
        argument=f"name: {name}",
        expected="a name that can be a folder, since several recipes are written",
        received=f"'{name}'",
        remedy="Use letters, digits, '.', '_' and '-'.",
    )


def _below(book: RecipeBook, last: NamedRecipe) -> RecipeBook:
    """The recipes that one needs, and itself."""
    by_name = {step.name: step for step in book.steps}
    needed: dict[str | None, None] = {}

    def visit(step: NamedRecipe) -> None:
        needed[step.name] = None
        for reference in _references(step.recipe):
            if reference in by_name and reference not in needed:
                visit(by_name[reference])

    visit(last)
    return RecipeBook(steps=tuple(step for step in book.steps if step.name in needed))


def _origins(
    steps: Sequence[NamedRecipe], models: Mapping[str, Checkpoint], folder: Path
) -> tuple[Origin, ...]:
    """The models that are merged, the bases last; those that other recipes make are no origins."""
    made = {step.name for step in steps}
    roles: dict[str, str] = {}
    for step in steps:
        for reference in _references(step.recipe):
            is_base, is_merged = reference == step.recipe.base_model, reference in step.recipe.references
            role = "base" if is_base else "merged" if is_merged else "vocabulary"
            if reference in models and reference not in made and roles.get(reference) != "base":
                roles[reference] = role
    in_order = sorted(roles, key=lambda reference: roles[reference] == "base")
    return tuple(describe(roles[reference], models[reference], folder) for reference in in_order)


def _references(recipe: Recipe) -> tuple[str, ...]:
    try:
        return all_references(recipe)
    except KingyoError:  # it is among the errors already
        return recipe.references


def _in_order(findings: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The worst first, each once."""
    order = ("error", "warning", "note")
    return tuple(sorted(dict.fromkeys(findings), key=lambda each: order.index(each.level)))
