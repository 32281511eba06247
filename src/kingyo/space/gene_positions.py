"""Where along a model the groups of its tensors lie, for strategies that treat near genes alike.

It knows the layout alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.checkpoints.layout import Layout


def places(layout: Layout, how: str) -> dict[str, float | None]:
    """Every group's place from 0 (input) to 1 (output); None for groups that lie all over the model.

    Block i of the n of its stack lies at (i + 0.5) / n, a span of blocks at its middle, the embedding at 0,
    the head at 1.
    """
    groups = layout.groups(how)
    if how in ("one", "kind"):
        return dict.fromkeys(groups)
    return {group: _place(layout, names) for group, names in groups.items()}


def _place(layout: Layout, names: Sequence[str]) -> float | None:
    stack = next((found for name in names if (found := layout.stack(name)) is not None), None)
    if stack is None:
        return layout.depth(names[0]) if layout.stacks else None
    inside = {layout.block(name) for name in names}
    order = [i for i, number in enumerate(stack.blocks) if number in inside]
    return (sum(order) / len(order) + 0.5) / len(stack.blocks)
