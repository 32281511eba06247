"""Coarse-to-fine search: run another strategy in spaces of increasing resolution.

    stage 0     one gene per family of axes, such as one weight per source
    stage k     up to 2^k genes per family, each for a group of neighbouring positions in the model
    last stage  every axis on its own

Each stage begins with the outcomes of the earlier ones: a coarse point is a fine point whose genes are equal
within each group. A small budget ends in a small space, a large one in the full space. The stages follow no
paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES
from kingyo.search.strategies.checks import Positive
from kingyo.search.strategies.wrapper import Wrapper, build_inner

MAX_KNOWN = 200  # outcomes that a stage begins with: half the best, half the latest


class CoarseToFine(Wrapper):
    """Run another strategy in a sequence of spaces, each finer than the one before.

    Axes of one family (``Axis.family``) with equal bounds and starts are grouped by position. A stage ends
    after ``per_gene`` trials per gene. If no axes can be grouped, the search is that of the inner strategy.
    Parents of trials are those of the inner strategy.
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the coarse-to-fine search.

        Attributes:
            strategy: strategy of each stage; no combinator.
            settings: options of that strategy; default: its defaults.
            per_gene: trials per gene in each stage; the last stage has no limit.
        """

        strategy: str = "item-gp"
        settings: Mapping[str, object] | None = None
        per_gene: Positive = 8.0

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._seed = seed
        self._stages = build_stages(axes)
        self._begin_stage(0)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with measured points; each stage gets those that lie in its space."""
        self._known = sorted(known, key=lambda outcome: -outcome.trial.number)
        self._learn(self._known)

    def ask(self, n: int) -> list[Trial]:
        ends = self._first + math.ceil(self._settings.per_gene * len(self._stage.axes))
        if n and self._history.count >= ends and self._level + 1 < len(self._stages):
            self._begin_stage(self._level + 1)
            self._learn([*self._known, *self._best_and_latest()])
        return self._ask_inner(n)

    def _to_inner(self, genome: Genome) -> Genome:
        return self._stage.reduce(genome)

    def _to_outer(self, point: Genome) -> Genome:
        return self._stage.expand(point)

    def _begin_stage(self, level: int) -> None:
        self._level, self._stage, self._first = level, self._stages[level], self._history.count
        settings = self._settings
        self._set_inner(
            build_inner(settings.strategy, self._stage.axes, self._seed + level, settings.settings)
        )

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        scored = [outcome for outcome in outcomes if outcome.failure is None]
        self._warm_start_inner([each for each in scored if self._stage.contains(each.trial.genome)])

    def _best_and_latest(self) -> list[Outcome]:
        """Return the best and the latest successful outcomes, by number."""
        scores = {number: outcome.score for number, outcome in sorted(self._outcomes.items())}
        ranked = [(score, -number) for number, score in scores.items() if score is not None]
        best, latest = sorted(ranked, reverse=True)[: MAX_KNOWN // 2], ranked[-MAX_KNOWN // 2 :]
        return [self._outcomes[number] for number in sorted({-number for _, number in [*best, *latest]})]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A space in which groups of axes share one gene.

    Attributes:
        axes: one axis per group.
        groups: indices in the finest space of the axes of each group.
    """

    axes: tuple[Axis, ...]
    groups: tuple[tuple[int, ...], ...]

    def expand(self, genome: Genome) -> Genome:
        """Return the genome in the finest space: each axis gets the gene of its group."""
        pairs = zip(genome, self.groups, strict=True)
        genes = {index: gene for gene, group in pairs for index in group}
        return tuple(genes[index] for index in sorted(genes))

    def reduce(self, genome: Genome) -> Genome:
        """Return the genome in this space: the mean gene of each group, clipped to its bounds."""
        return tuple(
            float(min(max(math.fsum(genome[i] for i in group) / len(group), axis.low), axis.high))
            for axis, group in zip(self.axes, self.groups, strict=True)
        )

    def contains(self, genome: Genome) -> bool:
        """Return whether a genome of the finest space has equal genes within every group."""
        return all(len({genome[i] for i in group}) == 1 for group in self.groups)


def build_stages(axes: Sequence[Axis]) -> list[Stage]:
    """Return the stages, from one gene per family to one gene per axis."""
    ordered = [
        sorted(family, key=lambda i: axes[i].place or 0.0) for family in families_of(axes, ordered=True)
    ]
    longest = max(len(family) for family in ordered)
    levels = range(math.ceil(math.log2(longest)) + 1)
    partitions = [sorted(tuple(g) for family in ordered for g in _halves(family, level)) for level in levels]
    return [stage_of(axes, groups) for groups in partitions]


def families_of(axes: Sequence[Axis], *, ordered: bool) -> list[list[int]]:
    """Return the indices of axes that can share a gene: of one family, with equal bounds and starts.

    ``ordered``: those without a place in the model are on their own.
    """
    families: dict[tuple[object, ...], list[int]] = {}
    for index, axis in enumerate(axes):
        is_groupable = axis.family and axis.kind == "float" and not (ordered and axis.place is None)
        key = (axis.family, axis.low, axis.high, axis.start) if is_groupable else (index,)
        families.setdefault(key, []).append(index)
    return list(families.values())


def stage_of(axes: Sequence[Axis], groups: Sequence[Sequence[int]]) -> Stage:
    return Stage(axes=tuple(_group_axis(axes, group) for group in groups), groups=tuple(map(tuple, groups)))


def _halves(family: Sequence[int], level: int) -> list[Sequence[int]]:
    if level == 0 or len(family) == 1:
        return [family]
    middle = (len(family) + 1) // 2
    return [*_halves(family[:middle], level - 1), *_halves(family[middle:], level - 1)]


def _group_axis(axes: Sequence[Axis], group: Sequence[int]) -> Axis:
    first = axes[group[0]]
    if len(group) == 1:
        return first
    places = [axes[index].place or 0.0 for index in group]
    return replace(first, name=f"{first.name} +{len(group) - 1}", place=sum(places) / len(places))


STRATEGIES.register("coarse-to-fine")(CoarseToFine)
