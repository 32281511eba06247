"""The numbers of one tensor's merge: a piece's parameters, resolved and checked against the method's."""

from __future__ import annotations

from kingyo.errors import KingyoError
from kingyo.merge.pieces import Piece
from kingyo.methods import MergeMethod, MethodValues, Parameter
from kingyo.recipe import Word, look_up


def resolve(piece: Piece, method: MergeMethod, tensor: str, depth: float) -> MethodValues:
    """The values for one tensor.

    Args:
        piece: whose parameters they are.
        method: what they are for.
        tensor: its name in the output, which filters look at.
        depth: where it sits in the model or the slice, 0 (first layer) to 1 (last), for gradients.

    Raises:
        KingyoError: a value is missing, of the wrong kind, or out of bounds.
    """
    shared: dict[str, float | bool] = {}
    per_source: dict[str, tuple[float, ...]] = {}
    for parameter in method.params:
        name = parameter.name
        if not parameter.per_source:
            shared[name] = _valid(parameter, look_up(piece.levels, name, tensor, depth), tensor)
            continue
        per_source[name] = tuple(
            _valid(parameter, look_up((entry.own, *piece.levels), name, tensor, depth), entry.reference)
            for entry in piece.merged
        )
    return MethodValues(shared=shared, per_source=per_source)


def _valid(parameter: Parameter, value: Word | None, where: str) -> float | bool:
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
            remedy="Correct it; `kingyo list methods` says what it does.",
        )
    if parameter.kind == "bool" and value in (0, 1):  # as people write it: normalize: 1
        value = bool(value)
    return parameter.check(value, where)
