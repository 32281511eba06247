"""Find everything about a merge that may harm its result: in its models, its output folder and its disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.atomic_folder import check_free, hidden, is_published, unwritable
from kingyo.checkpoints.locate import whole_pipeline
from kingyo.checkpoints.writer import no_room
from kingyo.engine.folder import check_no_source
from kingyo.engine.options import MergeRequest
from kingyo.engine.outputs import PlannedOutput
from kingyo.engine.plan import Plan
from kingyo.engine.single_file import check_single_file
from kingyo.errors import KingyoError
from kingyo.io.units import size_text
from kingyo.recipe import Recipe
from kingyo.vocabulary import TOKENIZER_FILES, Diagnostic, compare, tokenizer_choice


def check_models(recipe: Recipe, models: Mapping[str, Checkpoint], plan: Plan | None) -> Iterator[Diagnostic]:
    """Yield findings on the opened models of a recipe, and on its plan, if it could be planned."""
    yield from _tokenizers(recipe, models)
    for reference in recipe.references:
        for note in models[reference].notes if reference in models else ():
            yield _doubtful(reference, "an adapter that has the same effect as in training", note)
    if plan is None:
        return
    if recipe.base_model is not None and recipe.frame is None and recipe.base_model not in plan.weights_of:
        yield Diagnostic(
            level="warning",
            argument="base_model",
            expected=f"a model that {plan.method.name} merges, among the models",
            received=f"{recipe.base_model}, which gives only config and tokenizer",
            remedy="To merge it, as mergekit does, list it below models: too.",
        )
    yield from _missing_tokenizer(plan)
    for difference in plan.differences:
        yield _doubtful("models", "models that differ only in their weights", difference)
    yield from plan.unmatched
    yield from _unknown_markers(plan)


def _tokenizers(recipe: Recipe, models: Mapping[str, Checkpoint]) -> Iterator[Diagnostic]:
    """Compare the tokenizers of the models on disk."""
    first = recipe.template
    references = dict.fromkeys((first, *recipe.references))
    opened = {reference: models[reference] for reference in references if reference in models}
    folders = {
        reference: model.path
        for reference, model in opened.items()
        if model.on_disk() and "_class_name" not in model.config  # components of pipelines read no text
    }
    try:
        is_aligned = tokenizer_choice(recipe) is not None
    except KingyoError:  # reported as an error of the recipe
        return
    if len(folders) > 1:
        try:
            findings = compare(folders, is_aligned=is_aligned, has_template=recipe.chat_template is not None)
            yield from (each for each in findings if each.received != "the same files")
        except KingyoError as error:
            yield Diagnostic.of(error)


def _missing_tokenizer(plan: Plan) -> Iterator[Diagnostic]:
    """Warn if the output has no tokenizer although one of its models has."""
    if plan.tokenizer_files is not None or _has_tokenizer(plan.like):
        return
    others = [name for name in sorted(plan.weights_of) if _has_tokenizer(plan.sources[name])]
    if others:
        yield Diagnostic(
            level="warning",
            argument=plan.like.reference,
            expected="a tokenizer in the folder of the model whose config the output gets",
            received="none, so the output will have none",
            remedy=f"If the models share a tokenizer, copy that of {others[0]} into the folder.",
        )


def _has_tokenizer(model: Checkpoint) -> bool:
    return any((model.path / file).is_file() for file in TOKENIZER_FILES)


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


def not_downloaded(models: Mapping[str, Checkpoint]) -> Iterator[Diagnostic]:
    """Yield a note for each model whose weights are still on the Hub."""
    for reference, model in models.items():
        if model.n_missing:
            yield Diagnostic(
                level="note",
                argument=reference,
                expected="weights on this machine",
                received=f"headers alone; {size_text(model.n_missing)} are on the Hub",
                remedy="The merge downloads them first.",
            )


def check_outputs(
    request: MergeRequest, outputs: Sequence[PlannedOutput], *, fetch: bool
) -> Iterator[Diagnostic]:
    """Yield findings on the folders of outputs: taken, a source, not writable or too small; pipelines; code.

    If there are no outputs, only ``request.out`` is checked. ``fetch`` downloads the files of pipelines.
    """
    for out in [each.out for each in outputs] or [request.out]:
        try:
            if not is_published(out):  # the writer notices whether it is the same merge
                check_free(out, force=request.options.force)
        except KingyoError as error:
            yield Diagnostic.of(error)
        except OSError as error:
            yield Diagnostic.of(unwritable(out, error))
    for each in outputs:
        try:
            check_no_source(each.plan, each.out)
            pickle, around = request.options.allow_pickle, dict[str, Path]()
            if request.options.pipeline:
                found = whole_pipeline(each.plan.like, request.root, fetch=fetch, allow_pickle=pickle)
                around = dict(found)
            if request.options.single_file:
                check_single_file(each.plan.like, around)
        except KingyoError as error:
            yield Diagnostic.of(error)
    yield from _disk(request, outputs)
    for template in {id(each.plan.like): each.plan.like for each in outputs}.values():
        yield from _code(template, is_copied=request.options.copy_code)


def existing_parent(path: Path) -> Path:
    """Return the nearest parent folder that exists."""
    return next((parent for parent in path.resolve().parents if parent.exists()), path.resolve())


def _disk(request: MergeRequest, outputs: Sequence[PlannedOutput]) -> Iterator[Diagnostic]:
    """Check that the disk is writable and large enough."""
    out, copies = request.out, 1 + request.options.single_file
    parent = existing_parent(out)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = PermissionError(13, "Permission denied" if parent.is_dir() else f"{parent} is no folder")
        yield Diagnostic.of(unwritable(out, reason))
        return
    needed = sum(copies * each.n_bytes - _finished(each.out) for each in outputs)
    free = shutil.disk_usage(parent).free
    if needed > free:
        yield Diagnostic.of(no_room(out, needed, free))


def _finished(out: Path) -> int:
    """Return the bytes that an interrupted merge has left."""
    content = hidden(out) / "content"
    return sum(file.stat().st_size for file in content.glob("*.safetensors"))


def _code(template: Checkpoint, *, is_copied: bool) -> Iterator[Diagnostic]:
    """Report code that a config names: it is never run, but the output may not load without it."""
    if not template.runs_code:
        return
    if is_copied and not any(template.path.glob("*.py")):
        yield Diagnostic(
            level="error",
            argument="--copy-code",
            expected=f"Python files in the folder of {template.reference}",
            received="none: kingyo downloads no code",
            remedy="Remove --copy-code, or add the files to the folder first.",
        )
        return
    hint = "" if is_copied else " Add --copy-code if the result needs it: it is copied, and still not run."
    yield Diagnostic(
        level="note" if is_copied else "warning",
        argument=f"the config of {template.reference}",
        expected="a model that transformers loads by itself",
        received=f"one that names code (auto_map), {'' if is_copied else 'not '}copied and never run",
        remedy=f"Read it before you trust it.{hint}",
    )
