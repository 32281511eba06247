"""Check the models of a recipe for everything that does not prevent a merge but may harm its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kingyo.checkpoints import Checkpoint
from kingyo.engine.plan import Plan
from kingyo.errors import KingyoError
from kingyo.recipe import Recipe
from kingyo.vocabulary import TOKENIZER_FILES, Diagnostic, compare, tokenizer_choice


def check_models(recipe: Recipe, models: Mapping[str, Checkpoint], plan: Plan | None) -> Iterator[Diagnostic]:
    """Yield findings on the models of a recipe.

    Args:
        recipe: the recipe.
        models: the models that could be opened, by reference.
        plan: its plan; None if it could not be planned.
    """
    yield from _tokenizers(recipe, models)
    for reference in recipe.references:
        for note in models[reference].notes if reference in models else ():
            yield _doubtful(reference, "an adapter that has the same effect as in training", note)
    if plan is not None:
        yield from _unmerged_base(recipe, plan)
        yield from _missing_tokenizer(plan)
        for difference in plan.differences:
            yield _doubtful("models", "models that differ only in their weights", difference)
        yield from _filters(plan)
        yield from _unknown_markers(plan)


def _tokenizers(recipe: Recipe, models: Mapping[str, Checkpoint]) -> Iterator[Diagnostic]:
    """Compare the tokenizers of the models on disk."""
    first = recipe.base_model or recipe.references[0]
    references = dict.fromkeys((first, *recipe.references))
    opened = {reference: models[reference] for reference in references if reference in models}
    folders = {reference: model.path for reference, model in opened.items() if model.on_disk()}
    try:
        is_aligned = tokenizer_choice(recipe) is not None
    except KingyoError:  # reported as an error of the recipe
        return
    if len(folders) > 1:
        try:
            yield from compare(folders, is_aligned=is_aligned, has_template=recipe.chat_template is not None)
        except KingyoError as error:
            yield Diagnostic.of(error)


def _unmerged_base(recipe: Recipe, plan: Plan) -> Iterator[Diagnostic]:
    if recipe.base_model is not None and recipe.base_model not in plan.weights_of:
        yield Diagnostic(
            level="warning",
            argument="base_model",
            expected=f"a model that {plan.method.name} merges, among the models",
            received=f"{recipe.base_model}, which gives only config and tokenizer",
            remedy="To merge it, as mergekit does, list it below models: too.",
        )


def _missing_tokenizer(plan: Plan) -> Iterator[Diagnostic]:
    """Warn if the output has no tokenizer although one of its models has."""
    if plan.tokenizer_files is not None or _has_tokenizer(plan.like):
        return
    others = [name for name in sorted(plan.weights_of) if _has_tokenizer(plan.sources[name])]
    if others:
        yield Diagnostic(
            level="warning",
            argument=plan.like.reference,
            expected="a tokenizer beside the model that gives the output its config",
            received="none, so the output will have none either",
            remedy=f"Copy the tokenizer of {others[0]} beside it, if it is the same.",
        )


def _has_tokenizer(model: Checkpoint) -> bool:
    return any((model.path / file).is_file() for file in TOKENIZER_FILES)


def _filters(plan: Plan) -> Iterator[Diagnostic]:
    for each in plan.unmatched:
        yield Diagnostic(
            level="warning",
            argument=each.where,
            expected="filters that match a tensor",
            received=f"'{each.filter}', which matches none and has no effect",
            remedy=f"Did you mean '{each.nearest}'?"
            if each.nearest is not None
            else "Write a part of the tensors' names, such as mlp, and no pattern.",
        )


def _unknown_markers(plan: Plan) -> Iterator[Diagnostic]:
    """Warn of markers that the chat template writes although they are no tokens."""
    for marker in plan.vocabulary.unknown_markers if plan.vocabulary is not None else ():
        yield Diagnostic(
            level="warning",
            argument="chat_template",
            expected="tokens of the output",
            received=f"'{marker}', which is no token",
            remedy=f"Add it below `tokenizer: tokens:`, as `'{marker}': {{}}`.",
        )


def _doubtful(argument: str, expected: str, received: str) -> Diagnostic:
    return Diagnostic(
        level="warning",
        argument=argument,
        expected=expected,
        received=received,
        remedy="Check that this is what you want.",
    )
