"""Spans of layers in which sources have a weight each, and how much each source changes there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.checkpoints.layout import Layout
from kingyo.run.run import Run
from kingyo.run.spaces import merged_layout

MOST_SPANS = 4
"""Most spans in trial merges."""
Changes = Mapping[str, tuple[float, int]]
"""Block -> the squared norm of a task vector there, and of how many numbers."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """The groups of tensors in which a source has its own weight.

    Attributes:
        layout: layout of the tensors that are merged.
        groups: granularity, as in ``Layout.groups``.
    """

    layout: Layout
    groups: str

    @classmethod
    def of(cls, run: Run, most: int = MOST_SPANS) -> Spans:
        """Return the spans of a run, at most one per layer; one for models with several stacks of layers."""
        layout = merged_layout(run)
        n = min(layout.n_blocks, most) if len(layout.stacks) == 1 else 1
        return cls(layout=layout, groups=f"layers:{n}" if n > 1 else "one")

    @property
    def n(self) -> int:
        """Number of spans."""
        return len(self.layout.groups(self.groups))

    def spread(self, row: Sequence[float]) -> list[float]:
        """Return weights by span from weights by longer spans, whose number divides that of these spans."""
        assert self.n % len(row) == 0, "each span is within one of the longer spans"
        return [weight for weight in row for _ in range(self.n // len(row))]

    def norms(self, changes: Changes) -> tuple[float, ...]:
        """Return the root mean square of a task vector in each span, over the blocks that it changes.

        Args:
            changes: of the blocks of the base, which are those of the merged tensors; others do not count.
        """
        squares: dict[str, float] = {}
        numbers: dict[str, int] = {}
        span_of = {name: group for group, names in self.layout.groups(self.groups).items() for name in names}
        for block, names in self.layout.groups("block").items():
            square, n = changes.get(block, (0.0, 0))
            if square > 0:
                span = span_of[names[0]]
                squares[span] = squares.get(span, 0.0) + square
                numbers[span] = numbers.get(span, 0) + n
        groups = self.layout.groups(self.groups)
        return tuple(math.sqrt(squares[span] / numbers[span]) if span in squares else 0.0 for span in groups)
