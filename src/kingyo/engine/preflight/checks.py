"""What is wrong, or worth knowing, about the models of a recipe and the place of its result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.partial import check_free, hidden, is_published, unwritable
from kingyo.checkpoints.writer import no_room
from kingyo.engine import Plan
from kingyo.engine.folder import check_no_source
from kingyo.engine.options import MergeRequest
from kingyo.errors import KingyoError
from kingyo.recipe import Recipe
from kingyo.vocabulary import TOKENIZER_FILES, Diagnostic, compare, tokenizer_choice


def check_models(recipe: Recipe, models: Mapping[str, Checkpoint], plan: Plan | None) -> Iterator[Diagnostic]:
    """Look at the models of a recipe.

    Args:
        recipe: what is merged.
        models: those that could be opened.
        plan: of the recipe, if it could be planned.
    """
    yield from _tokenizers(recipe, models)
    for reference in recipe.references:
        model = models.get(reference)
        for note in () if model is None else model.notes:
            yield _bends(reference, "an adapter that does here what it did when it was trained", note)
    if plan is not None:
        yield from _planned(recipe, plan)


def _planned(recipe: Recipe, plan: Plan) -> Iterator[Diagnostic]:
    """What bends a merge that can be done."""
    if recipe.base_model is not None and recipe.base_model not in plan.weights_of:
        yield Diagnostic(
            level="warning",
            argument="base_model",
            expected=f"a model that {plan.method.name} merges, among the models",
            received=f"{recipe.base_model}, of which nothing but config and tokenizer is taken",
            remedy="mergekit would merge it: list it below models: if that is wanted.",
        )
    without = _without_tokenizer(plan)
    if without is not None:
        yield without
    for warning in plan.differences:
        yield _bends("models", "models that differ in nothing but weights", warning)
    for each in plan.unmatched:
        yield Diagnostic(
            level="warning",
            argument=each.where,
            expected="filters that match a tensor",
            received=f"'{each.filter}', which matches none and has no effect",
            remedy=f"Did you mean '{each.nearest}'?"
            if each.nearest is not None
            else "A filter is a part of tensors' names, such as mlp, and no pattern.",
        )
    for marker in plan.vocabulary.unknown_markers if plan.vocabulary is not None else ():
        yield Diagnostic(
            level="warning",
            argument="chat_template",
            expected="tokens of the output",
            received=f"'{marker}', which it writes and which is none",
            remedy=f"Add it below `tokenizer: tokens:`, as `'{marker}': {{}}`.",
        )


def _without_tokenizer(plan: Plan) -> Diagnostic | None:
    """The output is like a model that brings no tokenizer, where another one does."""
    if plan.tokenizer_files is not None or _has_tokenizer(plan.like):
        return None
    others = [name for name in sorted(plan.weights_of) if _has_tokenizer(plan.sources[name])]
    if not others:  # models that read no text
        return None
    return Diagnostic(
        level="warning",
        argument=plan.like.reference,
        expected="a tokenizer beside the model that the output is like",
        received="none, so the output will have none either",
        remedy=f"Copy the tokenizer of {others[0]} beside it, if it is the same.",
    )


def _has_tokenizer(model: Checkpoint) -> bool:
    return any((model.path / file).is_file() for file in TOKENIZER_FILES)


def check_output(request: MergeRequest, targets: Sequence[tuple[Path, Plan, int]]) -> Iterator[Diagnostic]:
    """Look at the places of results: taken, a source, out of reach, too small; and code beside them.

    Args:
        request: what was asked for.
        targets: folder, plan and bytes of every result; the folder that was asked for when there is none.
    """
    for out in [target for target, _, _ in targets] or [request.out]:
        try:
            if not is_published(out):  # else the writer knows whether it is the same
                check_free(out, force=request.options.force)
        except KingyoError as error:
            yield Diagnostic.of(error)
        except OSError as error:
            yield Diagnostic.of(unwritable(out, error))
    for out, plan, _ in targets:
        try:
            check_no_source(plan, out)
        except KingyoError as error:
            yield Diagnostic.of(error)
    yield from _room(request.out, targets)
    for like in {id(plan.like): plan.like for _, plan, _ in targets}.values():
        yield from _code(like, is_copied=request.options.copy_code)


def existing_parent(path: Path) -> Path:
    """The nearest folder above a path that is there."""
    return next(parent for parent in path.resolve().parents if parent.exists())


def _tokenizers(recipe: Recipe, models: Mapping[str, Checkpoint]) -> Iterator[Diagnostic]:
    first = recipe.base_model or recipe.references[0]
    in_order = dict.fromkeys((first, *recipe.references))
    found = {reference: models[reference] for reference in in_order if reference in models}
    folders = {reference: model.path for reference, model in found.items() if model.on_disk()}
    try:
        is_aligned = tokenizer_choice(recipe) is not None
    except KingyoError:  # it is among the errors already
        return
    if len(folders) > 1:
        try:
            has_template = recipe.chat_template is not None
            found = compare(folders, is_aligned=is_aligned, has_template=has_template)
            yield from (each for each in found if each.received != "the same files")
        except KingyoError as error:
            yield Diagnostic.of(error)


def _room(out: Path, targets: Sequence[tuple[Path, Plan, int]]) -> Iterator[Diagnostic]:
    parent = existing_parent(out)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = PermissionError(13, "Permission denied" if parent.is_dir() else f"{parent} is no folder")
        yield Diagnostic.of(unwritable(out, reason))
        return
    needed = sum(n_bytes - _finished(target) for target, _, n_bytes in targets)
    free = shutil.disk_usage(parent).free
    if needed > free:
        yield Diagnostic.of(no_room(out, needed, free))


def _finished(out: Path) -> int:
    """The bytes that an interrupted write has left, which count as written."""
    content = hidden(out) / "content"
    return sum(file.stat().st_size for file in content.glob("*.safetensors"))


def _code(like: Checkpoint, *, is_copied: bool) -> Iterator[Diagnostic]:
    """Code that a config names: nobody ran it, and without it the result may not load."""
    if not like.runs_code:
        return
    files = sorted(file.name for file in like.path.glob("*.py"))
    if is_copied and not files:
        yield Diagnostic(
            level="error",
            argument="--copy-code",
            expected=f"Python files beside the config of {like.reference}",
            received="none: kingyo fetches no code",
            remedy="Leave --copy-code out, or put the files beside the config first.",
        )
        return
    does = "is copied" if is_copied else "is not copied"
    yield Diagnostic(
        level="note" if is_copied else "warning",
        argument=f"the config of {like.reference}",
        expected="a model that transformers loads by itself",
        received=f"one that names code (auto_map), which {does} and was never run",
        remedy="Read it before you trust it."
        if is_copied
        else "Say --copy-code if the result needs it: it is copied, and still not run.",
    )


def _bends(argument: str, expected: str, received: str) -> Diagnostic:
    """What goes into the result, and perhaps should not."""
    return Diagnostic(
        level="warning",
        argument=argument,
        expected=expected,
        received=received,
        remedy="Check that this is what you want.",
    )
