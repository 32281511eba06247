"""Stepwise selection: which sources to merge, and how many, from paired scores of trial merges.

    step      every source that is not chosen is a possible addition to the merge of the chosen ones
    weights   one source has weight 1, k sources have min(1, 2 / √k) each: a sum of unrelated task vectors is
              never longer than one of four
    spans     a source may have a weight in each span of layers. From the first addition on, merges leave
              out a quarter of these weights of the chosen sources, those with the smallest task vectors by
              norm, and all that are smaller: they add little, and may disturb other sources
    pairs     if no source helps alone, pairs are tried, and the source whose pairs are best is chosen first
    round     the chosen set and some additions are scored on the same items; the best third of the additions
              goes on to the next round, which has other items
    decision  the best addition is chosen if its gain, without the items of the first round, is large enough
              and exceeds 0 by two standard errors; after the last round one is enough, and for the first
              source any gain that is large enough
    again     if none is chosen, the six additions from which most can still be expected are raced again, in
              twice as many rounds: one that helps may have been unlucky in a round
    shares    then merges that leave out another share of span weights are raced, and additions to whole
              merges. A share that wins is that of all later steps. If nothing wins, the selection ends
    end       each chosen source is left out in turn; the others keep their weights, a single one gets 1. One
              whose contribution is surely too small is dropped; a search can still weigh down the others

A step begins with the third of the additions, six at least, from which most is expected (``GainModel``); the
others follow only if none of these is chosen. The gain of the best of several is somewhat optimistic: rounds
after the first both select and measure. So a source that does nothing may be added by luck. It costs little,
whereas one that is missing may be worth much.
(Forward selection with backward elimination: Efroymson 1960, Multiple regression analysis; lazy evaluation:
Minoux 1978; rounds: Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits, on sequential
halving.)
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Literal

import numpy as np

from kingyo.core.types import Axis, Genome, Trial
from kingyo.search.strategies import STRATEGIES
from kingyo.search.strategies.base import BaseStrategy, Positive, Share, Size, require
from kingyo.search.strategies.source_changes import (
    ChangeRace,
    Gain,
    GainModel,
    GainRules,
    ItemScores,
    SourceChange,
    Weights,
)

FIRST = 6  # fewest additions that a step begins with
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
        predicted: source -> the gain that was predicted before it was measured.
        added: the source that was chosen; None if the selection ended.
        items: item -> score of the merge of the sources before it.
    """

    chosen: tuple[int, ...]
    gains: Mapping[int, Gain]
    predicted: Mapping[int, Gain]
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

    The items of a generation must be drawn at random and be the same for its trials, as screens do. All
    trials of a round are asked at once; none if the round has more than n, while outcomes are missing, or
    when all is decided.

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
            keep: share of the additions that goes on after a round.
            rounds: most rounds of a race; the race of additions that are tried again has twice as many.
            last_rounds: most rounds at the end, for the same chosen sources.
            features: numbers known of each source, one row per source, such as the norm of its task vector.
            similarity: similarity of each pair of sources, such as the cosine of task vectors.
            norms: norm of each source's task vector in each span of layers, such as its root mean square, one
                row per source; axes are then by source and by span. Empty: one axis per source.
            item_groups: item -> its group, for items that belong together.
        """

        min_gain: Share = 0.01
        most: Size | None = None
        costs: tuple[float, ...] = ()
        capacity: Positive | None = None
        keep: Share = 1 / 3
        rounds: Size = 6
        last_rounds: Size = 6
        features: tuple[tuple[float, ...], ...] = ()
        similarity: tuple[tuple[float, ...], ...] = ()
        norms: tuple[tuple[float, ...], ...] = ()
        item_groups: Mapping[str, str] = field(default_factory=dict[str, str])

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, batch=1)
        self.weights = Weights(axes=tuple(axes), norms=settings.norms)
        _check(settings, len(axes), self.weights)
        self._settings = settings
        self._rules = GainRules(min_gain=settings.min_gain, keep=settings.keep)
        self._features = _standardised(settings.features, self.weights.n_sources)
        self._model = GainModel(self.weights.n_sources, self._features.shape[1] + 2)
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
        """Make the rounds of the selection, one when the scores of the last are in."""
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
        """Race changes of the chosen sources; return the one to make, or why there is none.

        The weights are new, and are taken when they are scored; if their merge fails, the old ones stay.
        """
        candidates = self._additions(weights)
        predicted = {i: self._model.predict(i, self._features_of(i)) for i in candidates}
        order = sorted(candidates, key=lambda i: (-(predicted[i].mean + predicted[i].error), i))
        gains: dict[SourceChange, Gain] = {}
        first_items: dict[SourceChange, set[str]] = {}
        for changes, rounds in self._races(weights, order, gains, may_prune=may_prune):
            race = ChangeRace(
                changes, weights, self._scores, self._rules, rounds=rounds, first_items=first_items
            )
            while changes and not race.is_over:
                yield race.genomes()
                if not self._has_failed(weights):
                    self.weights = weights
                elif not self._has_failed(self.weights):
                    return (yield from self._step(self.weights, may_prune=may_prune))
                else:
                    self._record(gains, predicted, None)
                    return "cannot tell"
                race.end_round()
            gains |= race.gains
            if race.winner is not None:
                change = _first_of_pair(race.winner, race.gains)
                self._record(gains, predicted, change)
                return change
        measured = self._record(gains, predicted, None)
        if not measured:
            return "full" if self._left(weights) else "all"
        may_help = measured[best_measured(measured)].mean >= self._settings.min_gain
        return "cannot tell" if may_help else "enough"

    def _races(
        self, weights: Weights, order: Sequence[int], gains: Mapping[SourceChange, Gain], *, may_prune: bool
    ) -> Iterator[tuple[list[SourceChange], int]]:
        """Return the changes to race, one race after the other, each with its most rounds."""
        rounds, additions = self._settings.rounds, [SourceChange((i,)) for i in order]
        first = len(order) if not self.steps else max(FIRST, math.ceil(self._settings.keep * len(order)))
        yield additions[:first], rounds
        yield additions[first:], rounds
        if not self.chosen:
            yield self._pairs(order), rounds
            return
        bounds = {
            change: gain.mean + gain.error
            for change, gain in gains.items()
            if change.sources
            and not self._rules.is_hopeless(gain)
            and not self._has_failed(weights.changed(change))
        }
        best = sorted(bounds, key=lambda change: -bounds[change])[:LAST]
        yield best, 2 * rounds
        if may_prune:
            yield weights.other_shares(), rounds
            yield weights.whole_additions([change.sources[0] for change in best]), rounds

    def _record(
        self, gains: Mapping[SourceChange, Gain], predicted: Mapping[int, Gain], change: SourceChange | None
    ) -> dict[int, Gain]:
        """Learn the gains of a step and keep it, unless only the share changes; return gains by source.

        An addition counts as measured on most items, the chosen one as added.
        """
        ranked = sorted(gains.items(), key=lambda each: each[1].n)
        by_source = {change.sources[0]: gain for change, gain in ranked if len(change.sources) == 1}
        if change is not None and change in gains:
            by_source |= dict.fromkeys(change.sources, gains[change])
        for source, gain in by_source.items():
            self._model.learn(source, self._features_of(source), gain)
        if change is None or change.sources:
            self.steps.append(
                Step(
                    chosen=self.chosen,
                    gains=by_source,
                    predicted=predicted,
                    added=None if change is None else change.sources[0],
                    items=self.scores_of(self.chosen),
                )
            )
        return by_source

    def _drop(self) -> Generator[list[Genome]]:
        """Score the chosen sources without each; drop the worst while its contribution is surely too small.

        Those whose contribution is not sure are scored again. A source without which the merge fails stays.
        """
        while len(self.chosen) > 1:
            now, unsure = self.weights.genome(), list(self.chosen)
            without = {i: self.weights.without(i).genome() for i in self.chosen}
            gains: dict[int, Gain] = {}
            for _ in range(self._settings.last_rounds):
                yield [now, *(without[i] for i in unsure)]
                gains = {
                    i: self._scores.gain(now, genome)
                    for i, genome in without.items()
                    if genome not in self._scores.failed
                }
                self.contributions = gains
                unsure = [i for i, gain in gains.items() if not self._rules.is_enough(gain)]
                if not unsure:
                    return
            too_small = [i for i in unsure if self._rules.is_hopeless(gains[i])]
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

    def _features_of(self, source: int) -> list[float]:
        """Return the features of a source: those given, its similarity to the chosen ones, and the share of
        the items that it solves alone among those that the chosen ones do not solve.
        """
        similarity = 0.0
        if self._settings.similarity and self.chosen:
            similarity = max(self._settings.similarity[source][i] for i in self.chosen)
        mine, ours = self.scores_of([source]), self.scores_of(self.chosen)
        unsolved = [item for item in mine.keys() & ours.keys() if ours[item] < 0.5]
        solves = math.fsum(mine[item] for item in unsolved) / max(1, len(unsolved))
        return [*map(float, self._features[source]), similarity, solves]


def best_measured(gains: Mapping[int, Gain]) -> int:
    """Return the source with the best gain; a better one on less than half as many items as most is luck."""
    most = max(gain.n for gain in gains.values())
    return max((i for i, gain in gains.items() if 2 * gain.n >= most), key=lambda i: gains[i].mean)


def _first_of_pair(winner: SourceChange, gains: Mapping[SourceChange, Gain]) -> SourceChange:
    """Of a winning pair, return the source that does better in its other pairs."""
    if len(winner.sources) < 2:
        return winner
    means = {
        i: fmean(gain.mean for change, gain in gains.items() if i in change.sources) for i in winner.sources
    }
    return SourceChange((max(winner.sources, key=lambda i: means[i]),))


def _check(settings: Stepwise.Settings, n_axes: int, weights: Weights) -> None:
    n, n_spans, costs, norms = weights.n_sources, weights.n_spans, settings.costs, settings.norms
    require("norms", f"{len(norms)} rows of {n_spans}", f"{n_axes} numbers", holds=n * n_spans == n_axes)
    for name, rows, width in (
        ("features", settings.features, len((*settings.features, ())[0])),
        ("similarity", settings.similarity, n),
        ("norms", norms, n_spans),
        ("costs", [(cost,) for cost in costs], 1),
    ):
        require(name, f"{len(rows)} rows", f"{n} rows", holds=len(rows) in (0, n))
        holds = all(len(row) == width and all(map(math.isfinite, row)) for row in rows)
        require(name, str(rows)[:80], f"{width} finite numbers in each row", holds=holds)
    require("costs", str(costs), "costs of 0 or more", holds=min(costs, default=0.0) >= 0)
    holds = settings.capacity is None or bool(costs)
    require("capacity", str(settings.capacity), "costs with it", holds=holds)


def _standardised(rows: Sequence[Sequence[float]], n: int) -> np.ndarray:
    matrix = np.asarray(rows, dtype=np.float64).reshape(n, -1) if rows else np.zeros((n, 0))
    spread = matrix.std(axis=0)
    return (matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


STRATEGIES.register("stepwise")(Stepwise)
