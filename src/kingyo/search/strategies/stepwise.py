"""Stepwise selection: which sources to merge, and how many, from paired scores of trial merges.

docs/scout.md explains the steps and the parts that merges leave out. A step begins with the third of the
additions whose last gains were largest; the others follow only if none of these is chosen. Gains leave out
the first round, which ranks; later rounds both select and measure, so the best gain is somewhat optimistic. A
source that does nothing may be added by luck: that costs little, but a missing one may be worth much.

Forward selection with backward elimination: Efroymson 1960, Multiple regression analysis; lazy evaluation:
Minoux 1978; rounds: Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits.
"""

import math
import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Literal

from kingyo.core.types import Axis, Genome, Trial
from kingyo.search.strategies.base import BaseStrategy, Positive, Share, Size
from kingyo.search.strategies.source_changes import (
    KEEP,
    ChangeRace,
    Gain,
    ItemScores,
    SourceChange,
    Weights,
)

FIRST = 6  # fewest additions that a step begins with
ROUNDS = 6  # most of a race, and at the end for the same chosen sources
LAST = 6  # most additions that are raced again before the selection ends
MOST_PAIRS = 300
"""Most pairs that are tried; of more, some at random."""
Verdict = Literal["open", "enough", "cannot tell", "full", "all"]
"""Whether the selection goes on; ended because no source adds enough, because the items cannot tell whether
one does, because no other source may be added, or because all are chosen or failed."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One decision.

    Attributes:
        chosen: the sources before it.
        gains: source -> its measured gain.
        added: the source that was chosen; None if the selection ended.
        items: item -> score of the merge of the sources before it.
    """

    chosen: tuple[int, ...]
    gains: Mapping[int, Gain]
    added: int | None
    items: Mapping[str, float]

    @property
    def score(self) -> float:
        return math.fsum(self.items.values()) / max(1, self.n)

    @property
    def n(self) -> int:
        return len(self.items)


class Stepwise(BaseStrategy):
    """Choose sources one at a time. Each axis is the weight of a source in one span of layers, 0 for none.

    All trials of a round are asked at once, and must be scored on the same random items; none if the round
    has more than n, while outcomes are missing, or when all is decided.

    ``contributions`` has what the merge loses without a chosen source, ``steps`` the decisions so far.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of stepwise selection.

        Attributes:
            min_gain: least gain in mean score for which a source is added.
            most: most sources.
            costs: cost of each source, such as its bytes; empty: none.
            capacity: most total cost of the chosen sources.
            norms: norm of each source's task vector in each span of layers, such as its root mean square, one
                row per source; axes are then by source and by span. Empty: one axis per source.
            item_groups: item -> its group, for items that belong together.
        """

        min_gain: Share = 0.01
        most: Size | None = None
        costs: tuple[float, ...] = ()
        capacity: Positive | None = None
        norms: tuple[tuple[float, ...], ...] = ()
        item_groups: Mapping[str, str] = field(default_factory=dict[str, str])

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, batch=1)
        self.weights = Weights(axes=tuple(axes), norms=settings.norms)
        self._settings = settings
        self._last_gains: dict[int, Gain] = {}
        self._scores = ItemScores(settings.item_groups)
        self._rounds = self._select()
        self._queue: list[Genome] = []
        self._open: set[int] = set()  # numbers of trials without an outcome
        self.steps: list[Step] = []
        self.contributions: dict[int, Gain] = {}
        self.verdict: Verdict = "open"

    @property
    def chosen(self) -> tuple[int, ...]:
        return self.weights.chosen

    @property
    def batch(self) -> int:
        self._advance()
        return max(1, len(self._queue))

    def ask(self, n: int) -> list[Trial]:
        self._advance()
        if n < len(self._queue):
            return []
        trials = [self._history.ask(genome) for genome in self._queue]
        self._queue = []
        self._open.update(trial.number for trial in trials)
        return trials

    def scores_of(self, sources: Sequence[int]) -> dict[str, float]:
        return dict(self._scores.of(self.weights.genome(sources)))

    def _advance(self) -> None:
        for observation in self._history.take_all():
            self._open.discard(observation.number)
            self._scores.add(observation)
        if not self._queue and not self._open:
            self._queue = next(self._rounds, list[Genome]())

    def _select(self) -> Generator[list[Genome]]:
        has_new_share = False
        while True:
            change = yield from self._step(self.weights.pruned(), may_prune=not has_new_share)
            if isinstance(change, str):
                break
            self.weights = self.weights.changed(change)
            has_new_share = not change.sources
        if len(self.chosen) > 1:
            yield from self._drop()
        elif self.chosen and self.steps[0].gains[self.chosen[0]].mean < self._settings.min_gain:
            # chosen for its pairs, and none gained enough
            self.weights = self.weights.without(self.chosen[0])
        self.verdict = change

    def _step(
        self, weights: Weights, *, may_prune: bool
    ) -> Generator[list[Genome], None, SourceChange | Verdict]:
        """Race changes of the chosen sources; return the one to make, or why there is none."""
        candidates = self._additions(weights)
        last = {i: gain.mean + gain.error for i, gain in self._last_gains.items()}
        order = sorted(candidates, key=lambda i: (-last.get(i, math.inf), i))
        gains: dict[SourceChange, Gain] = {}
        first_items: dict[SourceChange, set[str]] = {}
        for changes, rounds in self._races(weights, order, gains, may_prune=may_prune):
            race = ChangeRace(
                changes,
                weights,
                self._scores,
                min_gain=self._settings.min_gain,
                rounds=rounds,
                first_items=first_items,
            )
            while changes and not race.is_over:
                yield race.genomes()
                if not self._has_failed(weights):
                    self.weights = weights
                elif not self._has_failed(self.weights):
                    return (yield from self._step(self.weights, may_prune=may_prune))
                else:
                    self._record(gains, None)
                    return "cannot tell"
                race.end_round()
            gains |= race.gains
            if race.winner is not None:
                change = _first_of_pair(race.winner, race.gains)
                self._record(gains, change)
                return change
        measured = self._record(gains, None)
        if not measured:
            return "full" if self._left(weights) else "all"
        may_help = measured[best_measured(measured)].mean >= self._settings.min_gain
        return "cannot tell" if may_help else "enough"

    def _races(
        self, weights: Weights, order: Sequence[int], gains: Mapping[SourceChange, Gain], *, may_prune: bool
    ) -> Iterator[tuple[list[SourceChange], int]]:
        additions = [SourceChange((i,)) for i in order]
        first = len(order) if not self.steps else max(FIRST, math.ceil(KEEP * len(order)))
        yield additions[:first], ROUNDS
        yield additions[first:], ROUNDS
        if not self.chosen:
            yield self._pairs(order), ROUNDS
            return
        bounds = {
            change: gain.mean + gain.error
            for change, gain in gains.items()
            if change.sources
            and not gain.is_hopeless(self._settings.min_gain)
            and not self._has_failed(weights.changed(change))
        }
        best = sorted(bounds, key=lambda change: -bounds[change])[:LAST]
        yield best, 2 * ROUNDS
        if may_prune:
            yield weights.other_shares(), ROUNDS
            yield weights.whole_additions([change.sources[0] for change in best]), ROUNDS

    def _record(self, gains: Mapping[SourceChange, Gain], change: SourceChange | None) -> dict[int, Gain]:
        """Keep a step, unless only the share changes; return gains by source."""
        ranked = sorted(gains.items(), key=lambda each: each[1].n)
        by_source = {change.sources[0]: gain for change, gain in ranked if len(change.sources) == 1}
        if change is not None and change in gains:
            by_source |= dict.fromkeys(change.sources, gains[change])
        self._last_gains |= by_source
        if change is None or change.sources:
            self.steps.append(
                Step(
                    chosen=self.chosen,
                    gains=by_source,
                    added=None if change is None else change.sources[0],
                    items=self.scores_of(self.chosen),
                )
            )
        return by_source

    def _drop(self) -> Generator[list[Genome]]:
        """Score the chosen sources without each; drop the worst while it surely adds too little."""
        while len(self.chosen) > 1:
            now, unsure = self.weights.genome(), list(self.chosen)
            without = {i: self.weights.without(i).genome() for i in self.chosen}
            gains: dict[int, Gain] = {}
            for _ in range(ROUNDS):
                yield [now, *(without[i] for i in unsure)]
                gains = {
                    i: self._scores.gain(now, genome)
                    for i, genome in without.items()
                    if genome not in self._scores.failed
                }
                self.contributions = gains
                unsure = [i for i, gain in gains.items() if not gain.is_enough(self._settings.min_gain)]
                if not unsure:
                    return
            too_small = [i for i in unsure if gains[i].is_hopeless(self._settings.min_gain)]
            if not too_small:
                return
            means = {i: gains[i].mean for i in too_small}
            self.weights = self.weights.without(min(means, key=means.__getitem__))
            self.contributions = {}

    def _additions(self, weights: Weights) -> list[int]:
        most = self._settings.most
        if most is not None and len(self.chosen) >= most:
            return []
        return [i for i in self._left(weights) if self._fits((i,))]

    def _left(self, weights: Weights) -> list[int]:
        others = (i for i in range(weights.n_sources) if i not in self.chosen)
        return [i for i in others if not self._has_failed(weights.changed(SourceChange((i,))))]

    def _has_failed(self, weights: Weights) -> bool:
        return weights.genome() in self._scores.failed

    def _fits(self, added: Sequence[int]) -> bool:
        costs, capacity = self._settings.costs, self._settings.capacity
        return capacity is None or math.fsum(costs[i] for i in (*self.chosen, *added)) <= capacity

    def _pairs(self, sources: Sequence[int]) -> list[SourceChange]:
        alive = sorted(i for i in sources if self.weights.genome([i]) not in self._scores.failed)
        pairs = [pair for pair in combinations(alive, 2) if self._fits(pair)]
        if self._settings.most == 1 or len(pairs) < 2:
            return []
        if len(pairs) > MOST_PAIRS:
            pairs = sorted(random.Random(self._seed).sample(pairs, MOST_PAIRS))
        return [SourceChange(pair) for pair in pairs]


def best_measured(gains: Mapping[int, Gain]) -> int:
    """Return the source with the best gain; a better one on less than half as many items as most is luck."""
    most = max(gain.n for gain in gains.values())
    return max((i for i, gain in gains.items() if 2 * gain.n >= most), key=lambda i: gains[i].mean)


def _first_of_pair(winner: SourceChange, gains: Mapping[SourceChange, Gain]) -> SourceChange:
    if len(winner.sources) < 2:
        return winner
    means = {
        i: fmean(gain.mean for change, gain in gains.items() if i in change.sources) for i in winner.sources
    }
    return SourceChange((max(winner.sources, key=lambda i: means[i]),))
