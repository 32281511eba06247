"""Plan a merge: check a recipe and the headers of its models, and resolve every parameter.

Planning binds tensors first (which tensors of which models make each tensor of the output), then resolves
the values of parameters. Candidates of a search that differ only in values share the binding.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint
from kingyo.engine.binding import Binding, BoundTensor, bind, binding_key
from kingyo.engine.block_weights import with_block_filters
from kingyo.engine.jobs import TensorJob
from kingyo.engine.layer_path import path_to_slices
from kingyo.engine.modules import ModuleMerge, SliceKey, SliceMerge, expand_modules
from kingyo.engine.parameters import misplaced_parameters, resolve, selection_of, unmatched_filters
from kingyo.engine.plan import Plan, PlannedCheckpoint, planned_checkpoint
from kingyo.engine.sources import Sources
from kingyo.engine.tokenizer import Alignment, align, template_files
from kingyo.errors import KingyoError, suggest
from kingyo.methods import METHODS, MergeMethod, MethodValues, check_together
from kingyo.recipe import Recipe
from kingyo.vocabulary import Diagnostic, all_references, tokenizer_choice


def plan(recipe: Recipe, sources: Sources) -> Plan:
    """Plan a merge of opened models.

    Raises:
        KingyoError: an unknown method or parameter, a missing or invalid value, too few or too many models,
            or models that do not fit together (the message names the tensor and both shapes).

    Example:
        >>> plan(recipe, open_sources(recipe)).jobs[0].name  # doctest: +SKIP
        'model.embed_tokens.weight'
    """
    method = METHODS.get(recipe.merge_method, sources.folder)
    _check_opened(recipe, sources)
    for error in misplaced_parameters(recipe, method):
        raise error
    opened = _with_merges(recipe, sources)
    sliced = path_to_slices(recipe, opened)
    modules = with_block_filters(
        expand_modules(sliced, method, recipe.base_model if recipe.path else None),
        lambda: opened[sliced.template].layout,
    )
    alignment, aligned = _aligned(recipe, opened)
    key = binding_key(sliced, modules)
    binding, bound = _bound(sliced, modules, aligned, key)
    merges = {(each.name, at): piece for each in modules for at, piece in each.by_position.items()}
    selections = _selections(method, merges, binding, bound, key)
    template = binding.template
    return Plan(
        recipe=recipe,
        method=method,
        jobs=tuple(_jobs(recipe, method, merges, binding.tensors, selections.by_name)),
        sources=bound,
        like=template if alignment is None else alignment.with_config(template),
        vocabulary=None if alignment is None else alignment.vocabulary,
        tokenizer_files=_tokenizer_files(recipe, alignment, template, opened),
        differences=binding.fitted.warnings,
        unmatched=selections.unmatched,
    )


def _check_opened(recipe: Recipe, sources: Sources) -> None:
    for reference in all_references(recipe):
        if reference not in sources:
            remedy = suggest(reference, sources)
            raise KingyoError("model", expected="an opened model", received=f"'{reference}'", remedy=remedy)


def _with_merges(recipe: Recipe, sources: Sources) -> Sources:
    """Return the opened models, and the results of the recipe's own merges by their names."""
    if not recipe.merges:
        return sources
    results: dict[str, PlannedCheckpoint] = {}
    for name, inner in recipe.merges.items():
        try:
            results[name] = planned_checkpoint(name, plan(inner, sources))
        except KingyoError as error:
            raise error.placed(f"merges.{name}") from error
    return Sources({**sources, **results}, sources.folder)


def _aligned(recipe: Recipe, sources: Sources) -> tuple[Alignment | None, Sources]:
    """Give all models one vocabulary if the recipe sets a tokenizer."""
    choice = tokenizer_choice(recipe)
    if choice is None:
        return None, sources
    key = json.dumps([choice.to_dict(), recipe.chat_template, recipe.base_model, recipe.references])

    def compute() -> tuple[Alignment, Sources]:
        alignment = align(recipe, choice, sources)
        return alignment, sources.as_seen(alignment.models, key)

    return sources.once(("alignment", key), compute)


def _bound(
    recipe: Recipe, modules: Sequence[ModuleMerge], sources: Sources, key: Hashable
) -> tuple[Binding, Sources]:
    """Bind the tensors of a recipe to models; only once for recipes of one binding key."""

    def compute() -> tuple[Binding, Sources]:
        binding = bind(recipe, modules, sources)
        fitted = binding.fitted
        return binding, sources.as_seen(fitted.models, key) if fitted.is_changed else sources

    return sources.once(("binding", key), compute)


@dataclass(frozen=True, kw_only=True)
class _Selections:
    """The tensors that each filter matches, and filters that match none.

    Attributes:
        by_name: selections of the tensors whose merges have filters or gradients; see ``selection_of``.
        unmatched: a warning for each filter that matches no tensor.
    """

    by_name: Mapping[str, Hashable]
    unmatched: tuple[Diagnostic, ...]


def _selections(
    method: MergeMethod,
    merges: Mapping[SliceKey, SliceMerge],
    binding: Binding,
    sources: Sources,
    key: Hashable,
) -> _Selections:
    """Match filters with names; only once for recipes of one binding key that differ only in numbers."""

    def compute() -> _Selections:
        varying = binding.varying(merges)
        return _Selections(
            by_name={
                tensor.name: selection_of(piece, method, tensor)
                for piece, tensors in varying
                for tensor in tensors
            },
            unmatched=unmatched_filters(method, varying),
        )

    selectors = tuple((at, piece.selectors) for at, piece in merges.items())
    return sources.once(("selections", key, method.params, selectors), compute)


def _tokenizer_files(
    recipe: Recipe, alignment: Alignment | None, template: Checkpoint, models: Mapping[str, Checkpoint]
) -> Mapping[str, bytes] | None:
    """Return the tokenizer files of the output; None if they are those of the template."""
    if alignment is not None:
        return alignment.files(template)
    return None if recipe.chat_template is None else template_files(recipe, template, models)


def _jobs(
    recipe: Recipe,
    method: MergeMethod,
    merges: Mapping[SliceKey, SliceMerge],
    tensors: Sequence[BoundTensor],
    selections: Mapping[str, Hashable],
) -> Iterator[TensorJob]:
    """Yield one job for each tensor."""
    resolved: dict[Hashable, MethodValues] = {}
    for tensor in tensors:
        info, piece = tensor.info, None if tensor.key is None else merges[tensor.key]
        is_merged = piece is not None and info.is_floating
        values = MethodValues()
        if piece is not None and is_merged:
            selector = tensor.key, selections.get(tensor.name)
            values = resolved.get(selector) or resolved.setdefault(selector, _values(method, tensor, piece))
        yield TensorJob(
            name=tensor.name,
            shape=info.shape,
            dtype=(recipe.result_dtype or info.stored_dtype) if info.is_floating else info.dtype,
            method=method if is_merged else None,
            inputs=tensor.inputs,
            base=tensor.base,
            values=values,
            seed=recipe.seed,
        )


def _values(method: MergeMethod, tensor: BoundTensor, piece: SliceMerge) -> MethodValues:
    values = resolve(piece, method, tensor)
    try:
        check_together(method, values, len(piece.merged))
    except KingyoError as error:
        raise (error if piece.is_constant else error.placed(tensor.name)) from None
    return values
