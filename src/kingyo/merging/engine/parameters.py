"""Resolve the parameters of a recipe for each tensor; find mistakes in them, and filters without effect."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from kingyo.errors import KingyoError, listed, nearest, suggest
from kingyo.merging.checkpoints import Layout
from kingyo.merging.engine.jobs import TensorJob
from kingyo.merging.engine.modules import ModuleMerge, SliceKey, SliceMerge
from kingyo.merging.methods import MergeMethod, MethodValues, Parameter, takes_base
from kingyo.merging.methods.catalogue import with_command
from kingyo.merging.recipe import (
    BlockWeights,
    Conditional,
    Recipe,
    Slice,
    SliceSource,
    Source,
    Value,
    Values,
    Word,
    look_up,
    selection,
)
from kingyo.merging.vocabulary import Diagnostic

ParameterPlace = tuple[str, Values, bool, bool]
"""Name of a place, its parameters, whether they are those of a single model, and whether that is the base."""
_MAX_FILTERS = 5


def resolve(piece: SliceMerge, method: MergeMethod, job: TensorJob) -> MethodValues:
    """Return the checked values for one tensor, with defaults.

    Filters of a source's values match the tensor's name in that source; filters of shared values match its
    name in the output. The two differ where slices move layers, as in mergekit.
    """
    shared: dict[str, float | bool] = {}
    per_source: dict[str, tuple[float, ...]] = {}
    for parameter in method.params:
        name = parameter.name
        if not parameter.per_source:
            shared[name] = _value(parameter, piece.levels, job.name, job.depth, job.name)
            continue
        per_source[name] = tuple(
            _value(parameter, (entry.own, *piece.levels), read.tensor, job.depth, entry.reference)
            for entry, read in zip(piece.merged, job.inputs, strict=True)
        )
    return MethodValues(shared=shared, per_source=per_source)


def selection_of(piece: SliceMerge, method: MergeMethod, job: TensorJob) -> Hashable:
    """Return the filters that match a tensor, and its depth if there are gradients, for all parameters.

    Tensors of a merge with equal selections have equal values. A selection depends on ``piece.selectors``,
    not on the numbers.
    """
    return tuple(
        tuple(
            selection((entry.own, *piece.levels), parameter.name, read.tensor, job.depth)
            for entry, read in zip(piece.merged, job.inputs, strict=True)
        )
        if parameter.per_source
        else selection(piece.levels, parameter.name, job.name, job.depth)
        for parameter in method.params
    )


def _value(
    parameter: Parameter, levels: Sequence[Values], tensor: str, depth: float, where: str
) -> float | bool:
    word = look_up(levels, parameter.name, tensor, depth)
    if word is None and parameter.default is None and (filters := _filters(levels, parameter.name)):
        expected = f"a value for the tensor {tensor}: {parameter.doc}"
        received = f"none: the filters ({listed([*map(repr, filters)], _MAX_FILTERS)}) match other tensors"
        remedy = "Add a last entry without filter for all other tensors: `- value: 0.5`."
        raise KingyoError(f"{parameter.name} of {where}", expected, received, remedy)
    return _valid(parameter, word, where)


def _valid(parameter: Parameter, value: Word | None, where: str) -> float | bool:
    if value is None:
        value = parameter.default
    if value is None:
        raise _missing_error(parameter, where)
    if isinstance(value, str):
        expected = "true or false" if parameter.kind == "bool" else "a number"
        raise KingyoError(f"{parameter.name} of {where}", expected, f"'{value}'", "Correct the value.")
    if parameter.kind == "bool" and value in (0, 1):  # mergekit allows normalize: 1
        value = bool(value)
    return parameter.check(value, where)


def _missing_error(parameter: Parameter, where: str) -> KingyoError:
    remedy = "Set it under parameters: of the model or of the recipe."
    return KingyoError(f"{parameter.name} of {where}", f"a value: {parameter.doc}", "nothing", remedy)


def misplaced_parameters(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Yield an error for each parameter that the method does not have or that is in the wrong place."""
    known = {parameter.name: parameter for parameter in method.params}
    for where, values, is_own, is_base in _places(recipe, method):
        for name in values:
            if name not in known:
                expected, remedy = f"parameters of {method.name}", suggest(name, known)
                yield KingyoError(where, expected, f"'{name}'", remedy)
            elif is_own and not known[name].per_source:
                expected, remedy = "parameters of a single model", "Move it to the parameters: of the recipe."
                yield KingyoError(where, expected, f"'{name}'", remedy)
            elif is_base:
                expected = "no parameters for the base, which has no task vector"
                remedy = "Remove it; in a run.yaml, remove the base from `sources`."
                yield KingyoError(where, expected, f"'{name}'", remedy)


def parameter_mistakes(recipe: Recipe, method: MergeMethod) -> Iterator[KingyoError]:
    """Yield an error for each parameter that is misplaced, invalid or missing.

    A parameter of a complete model is missing if it has neither a value nor a default; one that is probably
    misspelt is not.
    """
    yield from misplaced_parameters(recipe, method)
    known = {parameter.name: parameter for parameter in method.params}
    for where, values, *_ in _places(recipe, method):
        for name, value in values.items():
            for word in dict.fromkeys(_words(value)) if name in known else ():
                try:
                    _valid(known[name], word, where)
                except KingyoError as error:
                    yield with_command(error, method)
                    break
    for source in recipe.sources:
        given = {nearest(name, known) for name in (*recipe.parameters, *source.parameters)}
        for parameter in method.params if source.model != recipe.base_model else ():
            if parameter.per_source and parameter.name not in given and parameter.default is None:
                yield _missing_error(parameter, source.model)


def _places(recipe: Recipe, method: MergeMethod) -> Iterator[ParameterPlace]:
    yield "parameters", recipe.parameters, False, False
    yield from _contents("", recipe.sources, recipe.slices, recipe, method)
    for name, module in recipe.modules.items():
        yield f"modules.{name}", module.parameters, False, False
        yield from _contents(f"modules.{name}: ", module.sources, module.slices, recipe, method)


def _contents(
    label: str, sources: Sequence[Source], slices: Sequence[Slice], recipe: Recipe, method: MergeMethod
) -> Iterator[ParameterPlace]:
    yield from _of_models(sources, recipe.base_model, method)
    for i, each in enumerate(slices):
        yield f"{label}slices[{i}]", each.parameters, False, False
        yield from _of_models(each.sources, each.base_model or recipe.base_model, method)


def _of_models(
    sources: Sequence[Source] | Sequence[SliceSource], base: str | None, method: MergeMethod
) -> Iterator[ParameterPlace]:
    for source in sources:
        yield source.model, source.parameters, True, takes_base(method) and source.model == base


def _words(value: Value) -> Iterator[Word]:
    value = value.numbers if isinstance(value, BlockWeights) else value
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, Conditional):
            yield from _words(each.value)
        else:
            yield each


def unmatched_filters(
    method: MergeMethod, merges: Mapping[SliceKey, SliceMerge], jobs: Iterable[TensorJob]
) -> tuple[Diagnostic, ...]:
    """Return a warning for each filter that matches none of the tensors it could apply to.

    A filter that several merges share, such as one of a recipe with slices, needs to match in only one.
    """
    varying = {key: list[TensorJob]() for key, merge in merges.items() if not merge.is_constant}
    for job in jobs if varying else ():
        if job.key in varying:
            varying[job.key].append(job)
    names_of: dict[tuple[str, str], set[str]] = {}
    for key, tensors in varying.items():
        for where, filters, names in _uses(method, merges[key], tensors):
            for each in filters:
                names_of.setdefault((where, each), set()).update(names)
    return tuple(
        Diagnostic(
            "warning",
            where,
            "filters that match a tensor",
            f"'{each}', which matches none and has no effect",
            _similar(each, names),
        )
        for (where, each), names in names_of.items()
        if not any(each in name for name in names)
    )


def _uses(
    method: MergeMethod, piece: SliceMerge, tensors: Sequence[TensorJob]
) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Yield the place of filters, the filters, and the names that they are matched with; see ``resolve``."""
    for parameter in method.params:
        name = parameter.name
        shared = _filters(piece.levels, name)
        if not parameter.per_source:
            yield name, shared, [tensor.name for tensor in tensors] if shared else []
            continue
        for i, entry in enumerate(piece.merged):
            own = _filters((entry.own,), name)
            names = [tensor.inputs[i].tensor for tensor in tensors] if own or shared else []
            yield f"{name} of {entry.reference}", own, names
            yield name, shared, names


def _filters(levels: Iterable[Values], parameter: str) -> Sequence[str]:
    values = (level.get(parameter) for level in levels)
    entries = (cast(object, each) for value in values if isinstance(value, tuple) for each in value)
    filters = [each.filter for each in entries if isinstance(each, Conditional)]
    return list(dict.fromkeys(each for each in filters if each not in (None, "*")))


def _similar(written: str, names: Iterable[str]) -> str:
    wanted = written.strip(".")
    n_words = wanted.count(".") + 1
    words = [name.split(".") for name in names]
    parts = {".".join(each[i : i + n_words]) for each in words for i in range(len(each) - n_words + 1)}
    near = nearest(wanted, parts)
    return f"Did you mean '{near}'?" if near else "Write a part of tensors' names, such as mlp, no pattern."


def with_block_filters(
    modules: Sequence[ModuleMerge], layout: Callable[[], Layout]
) -> tuple[ModuleMerge, ...]:
    """Return the modules with filters on tensor names in place of merge block weights.

    ``layout`` returns the layout of the output, which only merge block weights need.
    """

    def resolved(values: Values) -> Values:
        return {
            name: _filters_of_blocks(name, value, layout()) if isinstance(value, BlockWeights) else value
            for name, value in values.items()
        }

    def with_filters(piece: SliceMerge) -> SliceMerge:
        merged = tuple(replace(entry, own=resolved(entry.own)) for entry in piece.merged)
        return replace(piece, levels=tuple(map(resolved, piece.levels)), merged=merged)

    return tuple(
        replace(module, pieces=tuple(map(with_filters, module.pieces)))
        if any(map(_has_block_weights, module.pieces))
        else module
        for module in modules
    )


def _has_block_weights(piece: SliceMerge) -> bool:
    given = (*piece.levels, *(entry.own for entry in piece.merged))
    return any(isinstance(value, BlockWeights) for values in given for value in values.values())


def _filters_of_blocks(name: str, value: BlockWeights, layout: Layout) -> Value:
    try:
        blocks = tuple(layout.groups("mbw"))
    except KingyoError as error:
        remedy = "Write a number or filters instead of mbw."
        raise KingyoError(name, error.expected, error.received, remedy) from error
    try:
        return layout.conditionals("mbw", value.by_block(blocks))
    except KingyoError as error:
        raise error.placed(name) from error
