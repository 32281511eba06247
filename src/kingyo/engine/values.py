"""The numbers of one tensor's merge: a piece's parameters, resolved and checked against the method's."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.engine.layers import LayerTensor, TensorInput
from kingyo.engine.pieces import SliceMerge
from kingyo.engine.unmatched import entries, filters_of
from kingyo.errors import KingyoError, listed
from kingyo.methods import MergeMethod, MethodValues, Parameter
from kingyo.recipe import Conditional, Values, Word, look_up

_MOST_FILTERS = 5


def resolve(piece: SliceMerge, method: MergeMethod, tensor: LayerTensor) -> MethodValues:
    """The values for one tensor.

    Filters look at its name: for a value of a source at the name that the source has it by (they differ where
    slices move layers, as in mergekit), for a shared value at its name in the output.

    Args:
        piece: whose parameters they are.
        method: what they are for.
        tensor: names of the tensor, and its depth, for gradients.

    Raises:
        KingyoError: a value is missing, of the wrong kind, or out of bounds.
    """
    shared: dict[str, float | bool] = {}
    per_source: dict[str, tuple[float, ...]] = {}
    for parameter in method.params:
        name = parameter.name
        if not parameter.per_source:
            shared[name] = _value(parameter, piece.levels, tensor.name, tensor.depth, tensor.name)
            continue
        per_source[name] = tuple(
            _value(parameter, (entry.own, *piece.levels), read.tensor, tensor.depth, entry.reference)
            for entry, read in zip(piece.merged, tensor.inputs, strict=True)
        )
    return MethodValues(shared=shared, per_source=per_source)


def _value(
    parameter: Parameter, levels: Sequence[Values], tensor: str, depth: float, where: str
) -> float | bool:
    value = look_up(levels, parameter.name, tensor, depth)
    if value is None and parameter.default is None:
        filters = filters_of(levels, parameter.name)
        if filters:
            raise _left_out(parameter, filters, tensor, where)
    return valid(parameter, value, where)


def _left_out(parameter: Parameter, filters: Sequence[str], tensor: str, where: str) -> KingyoError:
    written = listed([f"'{each}'" for each in filters], _MOST_FILTERS)
    return KingyoError(
        f"{parameter.name} of {where}",
        expected=f"a value for the tensor {tensor}: {parameter.doc}",
        received=f"none: the filters given ({written}) are for other tensors",
        remedy="Add a last entry without filter, which is for all tensors that are left: `- value: 0.5`.",
    )


def written(
    piece: SliceMerge, parameter: Parameter, name: str, inputs: Sequence[TensorInput]
) -> tuple[Conditional | None, ...]:
    """What the recipe says of a parameter for one tensor: a constant or a gradient, and its filter, if any.

    Args:
        piece: whose parameters they are.
        parameter: one of the method's.
        name: of the tensor in the output.
        inputs: the tensors that are merged.

    Returns:
        One for each source, or one for all of them; None where the default counts.
    """
    if not parameter.per_source:
        return (_first(piece.levels, parameter.name, name),)
    return tuple(
        _first((entry.own, *piece.levels), parameter.name, read.tensor)
        for entry, read in zip(piece.merged, inputs, strict=True)
    )


def _first(levels: Sequence[Values], parameter: str, tensor: str) -> Conditional | None:
    for level in levels:
        for each in entries(level.get(parameter)):
            if each.matches(tensor):
                return each
    return None


def valid(parameter: Parameter, value: Word | None, where: str) -> float | bool:
    """A parameter's value; None is its default.

    Raises:
        KingyoError: it has none, or the value is of the wrong kind or out of bounds.
    """
    if value is None:
        value = parameter.default
    if value is None:
        raise KingyoError(
            f"{parameter.name} of {where}",
            expected=f"a value: {parameter.doc}",
            received="nothing",
            remedy="Give it under parameters: of the model or of the recipe.",
        )
    if isinstance(value, str):
        raise KingyoError(
            f"{parameter.name} of {where}",
            expected="true or false" if parameter.kind == "bool" else "a number",
            received=f"'{value}'",
            remedy="Correct it; `kingyo list methods METHOD` says what it does.",
        )
    if parameter.kind == "bool" and value in (0, 1):  # as people write it: normalize: 1
        value = bool(value)
    return parameter.check(value, where)
