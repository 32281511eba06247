"""Coarse to fine: another strategy, first with few genes for many places of the model, then with more.

    stage 0     one gene per family of axes: a weight per source, the same in the whole model
    stage k     up to 2^k genes per family, each for a band of neighbouring places
    last        every axis for itself

What all earlier stages measured is what the next one knows at its beginning: a coarse point is a fine one
whose genes are equal. A search with few trials so never leaves a small space, one with many ends in the large
one. (Multiresolution search in general; these stages follow no paper.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kingyo.strategies import STRATEGIES, build_within
from kingyo.strategies.checks import check_search, require
from kingyo.strategies.history import History, check_count
from kingyo.types import (
    Axis,
    Genome,
    InformedStrategy,
    Outcome,
    PredictingStrategy,
    Strategy,
    TaskAware,
    Trial,
)

MOST_KNOWN = 200  # outcomes that a stage begins with: the best half and the latest


class CoarseToFine:
    """Several searches of another strategy, each in a finer space, one after the other.

    Axes of one family (``Axis.family``) whose bounds are equal are tied together by their place. A stage ends
    when ``per_gene`` trials for each of its genes are asked. Where nothing can be tied, it is the other
    strategy and nothing else. Trials have the parents that the other strategy gives them.

    Args:
        axes: the finest space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, an unknown strategy, or a combinator within.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of coarse to fine."""

        strategy: str = field(default="item-gp", metadata={"doc": "what searches in each stage"})
        settings: dict[str, object] | None = field(
            default=None, metadata={"doc": "options of that strategy; default: its own"}
        )
        per_gene: float = field(
            default=8.0, metadata={"doc": "trials of a stage, for each gene that it has; the last has no end"}
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        require("per_gene", settings.per_gene, "more than 0", holds=settings.per_gene > 0)
        simple = settings.strategy not in ("coarse-to-fine", "islands")
        require("strategy", settings.strategy, "a strategy that is no combinator", holds=simple)
        self._settings = settings
        self._seed = seed
        self._history = History()
        self._stages = stages(self._axes)
        self._known: list[Outcome] = []
        self._outcomes: dict[int, Outcome] = {}
        self._tasks: tuple[Mapping[str, str], Mapping[str, float]] | None = None
        self._begin(0, 0)

    @property
    def batch(self) -> int:
        """What the strategy of the stage would like."""
        return self._inner.batch

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Let the strategy of each stage know the tasks."""
        self._tasks = (task_of, weights)
        self._begin(0, 0)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with points that were measured before; each stage takes those that are points of its own."""
        self._known = sorted(known, key=lambda outcome: -outcome.trial.number)
        self._warm_start_inner(self._known)

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials of the stage, or of the next one when it has had its share."""
        check_count(n)
        if n and self._history.count - self._first >= self._share() and self._level + 1 < len(self._stages):
            self._begin(self._level + 1, self._history.count)
            self._warm_start_inner([*self._known, *self._best_and_latest()])
        trials = self._inner.ask(n)
        return [self._outer(trial) for trial in trials]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; of earlier stages too, for the next one."""
        self._history.tell(outcomes)
        self._outcomes |= {each.trial.number: _without_answers(each) for each in outcomes}
        self._inner.tell(self._mine(outcomes))

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """What the strategy of the stage expects of genomes, by the mean of genes that it ties."""
        if not isinstance(self._inner, PredictingStrategy):
            return None
        return self._inner.predict([self._stage.coarse(genome) for genome in genomes])

    def _share(self) -> float:
        return math.ceil(self._settings.per_gene * len(self._stage.axes))

    def _begin(self, level: int, first: int) -> None:
        self._level = level
        self._stage = self._stages[level]
        self._first = first
        self._asked: dict[int, Trial] = {}
        self._inner: Strategy = build_within(
            self._settings.strategy, self._stage.axes, self._seed + level, self._settings.settings
        )
        if self._tasks is not None and isinstance(self._inner, TaskAware):
            self._inner.learn_tasks(*self._tasks)

    def _warm_start_inner(self, outcomes: Sequence[Outcome]) -> None:
        inside = [each for each in outcomes if self._stage.holds(each.trial.genome)]
        fine = [each for each in inside if each.failure is None]
        if fine and isinstance(self._inner, InformedStrategy):
            self._inner.warm_start(
                [
                    replace(
                        each, trial=Trial(number=-1 - index, genome=self._stage.coarse(each.trial.genome))
                    )
                    for index, each in enumerate(fine)
                ]
            )

    def _best_and_latest(self) -> list[Outcome]:
        """Those of the trials that did not fail: a failure teaches no strategy before its first ask."""
        scores = {number: each.score for number, each in sorted(self._outcomes.items())}
        ranked = [(score, -number) for number, score in scores.items() if score is not None]
        best, latest = sorted(ranked, reverse=True)[: MOST_KNOWN // 2], ranked[-MOST_KNOWN // 2 :]
        return [self._outcomes[number] for number in sorted({-number for _, number in [*best, *latest]})]

    def _mine(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Those of the stage, as its strategy knows them."""
        mine = [each for each in outcomes if each.trial.number >= self._first]
        return [replace(each, trial=self._asked[each.trial.number]) for each in mine]

    def _outer(self, inner: Trial) -> Trial:
        parents = tuple(self._first + parent for parent in inner.parents)
        trial = self._history.ask(self._stage.fine(inner.genome), parents)
        self._asked[trial.number] = inner
        return trial


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A space with some axes tied together.

    Attributes:
        axes: one per group.
        groups: for each of them, which axes of the finest space it stands for.
        n_fine: how many of those there are.
    """

    axes: tuple[Axis, ...]
    groups: tuple[tuple[int, ...], ...]
    n_fine: int

    def fine(self, genome: Genome) -> Genome:
        """Give every axis the gene of its group."""
        found = [0.0] * self.n_fine
        for gene, group in zip(genome, self.groups, strict=True):
            for index in group:
                found[index] = gene
        return tuple(found)

    def coarse(self, genome: Genome) -> Genome:
        """Take the mean gene of each group."""
        return tuple(
            float(min(max(math.fsum(genome[i] for i in group) / len(group), axis.low), axis.high))
            for axis, group in zip(self.axes, self.groups, strict=True)
        )

    def holds(self, genome: Genome) -> bool:
        """Whether the genes of every group are equal."""
        return all(len({genome[i] for i in group}) == 1 for group in self.groups)


def stages(axes: Sequence[Axis]) -> list[Stage]:
    """The spaces from one gene per family to every axis for itself, each finer than the one before."""
    families: dict[tuple[object, ...], list[int]] = {}
    for index, axis in enumerate(axes):
        tied = axis.family and axis.place is not None and axis.kind == "float"
        key = (axis.family, axis.low, axis.high, axis.start) if tied else (index,)
        families.setdefault(key, []).append(index)
    ordered = [sorted(family, key=lambda i: axes[i].place or 0.0) for family in families.values()]
    longest = max(len(family) for family in ordered)
    found: list[Stage] = []
    for level in range(math.ceil(math.log2(longest)) + 1):
        groups = sorted(tuple(group) for family in ordered for group in _halved(family, level))
        found.append(
            Stage(axes=tuple(_tied(axes, group) for group in groups), groups=tuple(groups), n_fine=len(axes))
        )
    return found


def _halved(family: Sequence[int], level: int) -> list[Sequence[int]]:
    if level == 0 or len(family) == 1:
        return [family]
    middle = (len(family) + 1) // 2
    return [*_halved(family[:middle], level - 1), *_halved(family[middle:], level - 1)]


def _tied(axes: Sequence[Axis], group: Sequence[int]) -> Axis:
    first = axes[group[0]]
    if len(group) == 1:
        return first
    places = [axes[index].place or 0.0 for index in group]
    return replace(first, name=f"{first.name} +{len(group) - 1}", place=sum(places) / len(places))


def _without_answers(outcome: Outcome) -> Outcome:
    return replace(outcome, scores=tuple(each._replace(answer="") for each in outcome.scores))


STRATEGIES.register("coarse-to-fine")(CoarseToFine)
