"""How large paths are, as checkpoints: what surrounds the layers, and so many layers.

It looks at headers of checkpoints and reads no weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.header import WIDTHS
from kingyo.errors import KingyoError
from kingyo.io.units import parse_size, size_text


@dataclass(frozen=True, kw_only=True)
class PathSizes:
    """Bytes of weights.

    Attributes:
        ends: of the frame without its layers: embeddings, final norm, head.
        layer: of the largest layer of any source.
    """

    ends: int
    layer: int

    def of(self, hops: int) -> int:
        """Bytes of a path of so many layers, at most."""
        return self.ends + hops * self.layer

    def hops_within(self, size: str) -> int:
        """How many layers a path may have whose weights take no more than a size such as ``4GB``.

        Raises:
            KingyoError: it is no size, or has no room for a single layer.
        """
        most = parse_size(size, "dataflow.max_size")
        if most < self.of(1):
            raise KingyoError(
                "dataflow.max_size",
                expected=f"at least {size_text(self.of(1))}: {size_text(self.ends)} for all but layers, and "
                f"{size_text(self.layer)} for one of them",
                received=f"'{size}'",
                remedy="Raise it, leave it out, or export in fewer bits: merge.dtype.",
            )
        return (most - self.ends) // self.layer


def path_sizes(sources: Mapping[str, Checkpoint], frame: str, dtype: str | None) -> PathSizes:
    """Measure the models of a space of paths.

    Args:
        sources: by name.
        frame: the name of the one that gives all but the layers.
        dtype: of the exported weights; None keeps the models' own.
    """
    layout, tensors = sources[frame].layout, sources[frame].tensors
    outer = [info for name, info in tensors.items() if layout.stack(name) is not layout.main]
    layers = [
        _bytes((model.tensors[name] for name in names), dtype)
        for model in sources.values()
        if model.layout.main is not None
        for names in model.layout.main.blocks.values()
    ]
    return PathSizes(ends=_bytes(outer, dtype), layer=max(layers, default=1))


def _bytes(infos: Iterable[TensorInfo], dtype: str | None) -> int:
    return sum(
        each.n_elements * WIDTHS[dtype or each.stored_dtype if each.is_floating else each.dtype]
        for each in infos
    )
