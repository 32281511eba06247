"""Resolve the parameters of a merge for one tensor, and check them against the method's."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.engine.filters import entries, filters_of
from kingyo.engine.jobs import TensorInput
from kingyo.engine.modules import SliceMerge
from kingyo.engine.parameters import valid
from kingyo.engine.slices import BoundTensor
from kingyo.errors import KingyoError, listed
from kingyo.methods import MergeMethod, MethodValues, Parameter
from kingyo.recipe import Conditional, Values, look_up

_MAX_FILTERS = 5


def resolve(piece: SliceMerge, method: MergeMethod, tensor: BoundTensor) -> MethodValues:
    """Return the values for one tensor.

    Filters of a source's values match the tensor's name in that source; filters of shared values match its
    name in the output. The two differ where slices move layers, as in mergekit.

    Args:
        piece: the merge with the parameters.
        method: its method.
        tensor: names and depth of the tensor.

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
            raise KingyoError(
                f"{parameter.name} of {where}",
                expected=f"a value for the tensor {tensor}: {parameter.doc}",
                received="none: the filters "
                f"({listed([repr(each) for each in filters], _MAX_FILTERS)}) match other tensors",
                remedy="Add a last entry without filter for all other tensors: `- value: 0.5`.",
            )
    return valid(parameter, value, where)


def written(
    piece: SliceMerge, parameter: Parameter, name: str, inputs: Sequence[TensorInput]
) -> tuple[Conditional | None, ...]:
    """Return the entries of the recipe that set a parameter for one tensor, with gradients and filters.

    Args:
        piece: the merge with the parameters.
        parameter: one of the method's.
        name: name of the tensor in the output.
        inputs: the tensors that are merged.

    Returns:
        One entry for each source, or one for all of them; None where the default applies.
    """
    if not parameter.per_source:
        return (_first_match(piece.levels, parameter.name, name),)
    return tuple(
        _first_match((entry.own, *piece.levels), parameter.name, read.tensor)
        for entry, read in zip(piece.merged, inputs, strict=True)
    )


def _first_match(levels: Sequence[Values], parameter: str, tensor: str) -> Conditional | None:
    for level in levels:
        for each in entries(level.get(parameter)):
            if each.matches(tensor):
                return each
    return None
