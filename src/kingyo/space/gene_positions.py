"""Positions of tensor groups along a model, for strategies that treat neighbouring genes alike."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.checkpoints.layout import Layout


def group_positions(layout: Layout, granularity: str) -> dict[str, float | None]:
    """Return the position of each group, 0 (input) to 1 (output); None for groups that span the model.

    Block i of n is at (i + 0.5) / n, several blocks at their mean, the embedding at 0, the head at 1.

    Args:
        layout: groups of tensors.
        granularity: size of the groups, as in ``Layout.groups``.
    """
    groups = layout.groups(granularity)
    if granularity in ("one", "kind"):
        return dict.fromkeys(groups)
    return {group: _position(layout, names) for group, names in groups.items()}


def _position(layout: Layout, names: Sequence[str]) -> float | None:
    stack = next((found for name in names if (found := layout.stack(name)) is not None), None)
    if stack is None:
        return layout.depth(names[0]) if layout.stacks else None
    block_numbers = {layout.block(name) for name in names}
    order = [i for i, number in enumerate(stack.blocks) if number in block_numbers]
    return (sum(order) / len(order) + 0.5) / len(stack.blocks)
