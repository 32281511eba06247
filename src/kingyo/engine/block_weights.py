"""Turn merge block weights of a recipe into filters on the tensor names of its denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kingyo.checkpoints import Layout
from kingyo.engine.modules import ModuleMerge, SliceMerge
from kingyo.errors import KingyoError
from kingyo.recipe import BlockWeights, Value, Values


def with_block_filters(
    modules: Sequence[ModuleMerge], layout: Callable[[], Layout]
) -> tuple[ModuleMerge, ...]:
    """Return the modules with filters in place of merge block weights.

    Args:
        modules: the modules of a recipe.
        layout: returns the layout of the output, which only merge block weights need.

    Raises:
        KingyoError: the model is no denoiser, or has another number of blocks.
    """
    return tuple(
        replace(module, pieces=tuple(_resolved_piece(piece, layout) for piece in module.pieces))
        for module in modules
    )


def _resolved_piece(piece: SliceMerge, layout: Callable[[], Layout]) -> SliceMerge:
    given = [*piece.levels, *(entry.own for entry in piece.merged)]
    if not any(isinstance(value, BlockWeights) for values in given for value in values.values()):
        return piece
    return replace(
        piece,
        levels=tuple(_resolved(values, layout()) for values in piece.levels),
        merged=tuple(replace(entry, own=_resolved(entry.own, layout())) for entry in piece.merged),
    )


def _resolved(values: Values, layout: Layout) -> Values:
    return {name: _filters(name, value, layout) for name, value in values.items()}


def _filters(name: str, value: Value, layout: Layout) -> Value:
    if not isinstance(value, BlockWeights):
        return value
    try:
        blocks = tuple(layout.groups("mbw"))
    except KingyoError as error:
        raise KingyoError(
            name,
            expected=error.expected,
            received=error.received,
            remedy="Write a number or filters instead of mbw.",
        ) from error
    try:
        return layout.conditionals("mbw", value.by_block(blocks))
    except KingyoError as error:
        raise error.placed(name) from error
