"""Spans of layers in which sources have a weight each, and how much each source changes there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.checkpoints.layout import Layout
from kingyo.run.run import Run
from kingyo.run.spaces import merged_layout

MOST_SPANS = 4
"""Most spans."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """The groups of tensors in which a source has its own weight.

    Attributes:
        whole: layout of the models.
        merged: layout of the tensors that are merged.
        groups: granularity, as in ``Layout.groups``.
    """

    whole: Layout
    merged: Layout
    groups: str

    @classmethod
    def of(cls, run: Run) -> Spans:
        """Return the spans of a run: four, or one per layer; one if there is no single stack of layers."""
        merged = merged_layout(run)
        n = min(merged.n_blocks, MOST_SPANS) if len(merged.stacks) == 1 else 1
        return cls(whole=run.models.skeleton.layout, merged=merged, groups=f"layers:{n}" if n > 1 else "one")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups, from input to output."""
        return tuple(self.merged.groups(self.groups))

    def norms(self, squares: Mapping[str, float]) -> tuple[float, ...]:
        """Return the norm of a task vector in each span.

        Args:
            squares: block, as in ``Layout.groups("block")`` of the whole model -> its squared norm.
        """
        span_of = {
            name: i for i, names in enumerate(self.merged.groups(self.groups).values()) for name in names
        }
        sums = [0.0] * len(self.names)
        for block, names in self.whole.groups("block").items():
            spans = {span_of[name] for name in names if name in span_of}
            for span in spans:
                sums[span] += squares.get(block, 0.0) / len(spans)
        return tuple(map(math.sqrt, sums))
