"""Checkpoint sizes of paths, from tensor headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.header import WIDTHS
from kingyo.errors import KingyoError
from kingyo.io.units import parse_size, size_text


@dataclass(frozen=True, kw_only=True)
class PathSizes:
    """Sizes in bytes."""

    ends: int
    layer: int

    def max_bytes(self, hops: int) -> int:
        """Return an upper bound in bytes for a path of this many layers."""
        return self.ends + hops * self.layer

    def hops_within(self, size: str) -> int:
        """Return the maximum number of layers of a path that fits into a size such as ``4GB``."""
        limit = parse_size(size, "dataflow.max_size")
        if limit < self.max_bytes(1):
            raise KingyoError(
                "dataflow.max_size",
                expected=f"at least {size_text(self.max_bytes(1))}: {size_text(self.ends)} without layers "
                f"and {size_text(self.layer)} per layer",
                received=f"'{size}'",
                remedy="Raise it, leave it out, or export in fewer bits: merge.dtype.",
            )
        return (limit - self.ends) // self.layer


def path_sizes(sources: Mapping[str, Checkpoint], frame: str, dtype: str | None) -> PathSizes:
    """Measure the models of a data-flow space."""
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
        info.n_elements * WIDTHS[dtype or info.stored_dtype if info.is_floating else info.dtype]
        for info in infos
    )
