"""Which tensors of a model are merged, and under which names another model has them.

It looks at names, shapes and parts; it reads no weight.
"""

from __future__ import annotations

from collections.abc import Mapping

from kingyo.checkpoints.layout import Layout
from kingyo.errors import KingyoError, suggest

MERGE = "merge"
BASE = "base"


def select(layout: Layout, parts: Mapping[str, str]) -> dict[str, str]:
    """Say of each tensor whether it is merged, or from which model it is taken as it is.

    Args:
        layout: of the model whose tensors they are.
        parts: part -> ``merge``, ``base`` or a model's reference. Where some part is to be merged by name,
            parts that are not named stay as they are in the base; else they are merged.

    Returns:
        Tensor -> ``merge``, ``base`` or a model's reference.

    Raises:
        KingyoError: the model has no such part.
    """
    for part in parts:
        if part not in layout.parts:
            raise KingyoError(
                "parts",
                expected=f"parts of this model: {', '.join(layout.parts)}",
                received=f"'{part}'",
                remedy=suggest(part, layout.parts),
            )
    unnamed = BASE if MERGE in parts.values() else MERGE
    return {name: parts.get(layout.part(name), unnamed) for name in layout.names}
