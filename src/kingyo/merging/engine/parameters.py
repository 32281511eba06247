"""Resolve the parameters of a recipe for each tensor; find mistakes in them, and filters without effect."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from kingyo.errors import KingyoError, listed, nearest, suggest
from kingyo.merging.checkpoints import Layout
from kingyo.merging.engine.jobs import TensorJob
from kingyo.merging.engine.modules import ModuleMerge, SliceMerge
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


def unmatched_filters(recipe: Recipe, method: MergeMethod, jobs: Sequence[TensorJob]) -> Iterator[Diagnostic]:
    """Yield a warning for each filter that matches no tensor, neither of the output nor of its sources."""
    names = {name for job in jobs for name in (job.name, *(each.tensor for each in job.inputs))}
    for where, values, *_ in _places(recipe, method):
        for parameter in values:
            for each in _filters([values], parameter):
                if not any(each in name for name in names):
                    received = f"'{each}', which matches none and has no effect"
                    remedy = "Write a part of tensors' names, such as mlp, no pattern."
                    expected = "filters that match a tensor"
                    yield Diagnostic("warning", f"{parameter} of {where}", expected, received, remedy)


def _filters(levels: Iterable[Values], parameter: str) -> Sequence[str]:
    values = (level.get(parameter) for level in levels)
    entries = (cast(object, each) for value in values if isinstance(value, tuple) for each in value)
    filters = [each.filter for each in entries if isinstance(each, Conditional)]
    return list(dict.fromkeys(each for each in filters if each not in (None, "*")))


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
