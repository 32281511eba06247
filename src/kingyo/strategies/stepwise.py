"""Stepwise selection: which sources to merge, and how many, from paired scores of trial merges.

    step      every source that is not chosen is a possible addition to the merge of the chosen ones
    weights   one source has weight 1, k sources have min(1, 2 / √k) each: a sum of unrelated task vectors is
              never longer than one of four
    parts     a source may have a weight in each span of layers: a part. From the first addition on, merges
              leave out the smallest quarter of the parts of the chosen sources, by norm, and all that are
              smaller: a small part adds little, and may disturb other sources
    pairs     if no source helps alone, pairs are tried, and the source whose pairs are best is chosen first
    heat      the chosen set and some additions are scored on the same items; the best third of the additions
              goes on to the next heat, which has other items
    decision  the best addition is chosen if its gain, without the items of the first heat, is large enough
              and exceeds 0 by two standard errors; after the last heat one is enough, and for the first
              source any gain that is large enough
    again     if none is chosen, the six additions from which most can still be expected are raced again, in
              twice as many heats: one that helps may have been unlucky in a heat
    shares    then merges that leave out another share of parts are raced, and additions to whole merges. A
              share that wins is that of all later steps. If nothing wins, the selection ends
    end       each chosen source is left out in turn; the others keep their weights, a single one gets 1. One
              whose contribution is surely too small is dropped; a search can still weigh down the others

A step begins with the third of the additions, six at least, from which most is expected (``gain_model``); the
others follow only if none of these is chosen. The gain of the best of several is somewhat optimistic: heats
after the first both select and measure. So a source that does nothing may be added by luck. It costs little,
whereas one that is missing may be worth much.
(Forward selection with backward elimination: Efroymson 1960, Multiple regression analysis; lazy evaluation:
Minoux 1978; heats: Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits, on sequential
halving.)
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean
from typing import Literal

import numpy as np

from kingyo.strategies.change_race import ChangeRace, GainRules, ItemScores
from kingyo.strategies.checks import Positive, Share, Size, require
from kingyo.strategies.gain_model import Gain, GainModel
from kingyo.strategies.history import BaseStrategy
from kingyo.strategies.source_weights import WeightChange, Weights
from kingyo.types import Axis, Genome, Trial

FIRST = 6
"""Fewest additions that a step begins with."""
LAST = 6
"""Most additions that are raced again before the selection ends."""
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
        """Mean score of the sources before it, over all items that they were scored on."""
        return math.fsum(self.items.values()) / max(1, self.n)

    @property
    def n(self) -> int:
        """Number of these items."""
        return len(self.items)


@dataclass(kw_only=True)
class _Step:
    """A step that goes on: the merge to change, the races to come, the race of now, and what was measured.

    Attributes:
        weights: the merge of the chosen sources that changes are compared with.
        predicted: source -> its predicted gain.
        races: changes to race, and the most heats.
        gains: change -> its gain.
        first_items: change -> items of its first heat.
    """

    weights: Weights
    predicted: dict[int, Gain]
    races: Iterator[tuple[list[WeightChange], int]] = field(default_factory=lambda: iter(()))
    race: ChangeRace | None = None
    gains: dict[WeightChange, Gain] = field(default_factory=dict[WeightChange, Gain])
    first_items: dict[WeightChange, set[str]] = field(default_factory=dict[WeightChange, set[str]])

    def by_source(self, chosen: WeightChange | None) -> dict[int, Gain]:
        """Return the gain of each addition, as measured on most items; that of the chosen one as added."""
        ranked = sorted(self.gains.items(), key=lambda each: each[1].n)
        gains = {change.sources[0]: gain for change, gain in ranked if len(change.sources) == 1}
        if chosen is not None and chosen in self.gains:
            gains |= dict.fromkeys(chosen.sources, self.gains[chosen])
        return gains


class Stepwise(BaseStrategy):
    """Choose sources one at a time. Each axis is the weight of a source in one span of layers, 0 for none.

    The items of a generation must be drawn at random and be the same for its trials, as screens do.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of stepwise selection.

        Attributes:
            min_gain: least gain in mean score for which a source is added.
            most: most sources.
            costs: cost of each source, such as its bytes; empty: none.
            capacity: most total cost of the chosen sources.
            keep: share of the additions that goes on after a heat.
            heats: most heats of a race; the race of additions that are tried again has twice as many.
            last_heats: most heats at the end, for the same chosen sources.
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
        heats: Size = 6
        last_heats: Size = 6
        features: tuple[tuple[float, ...], ...] = ()
        similarity: tuple[tuple[float, ...], ...] = ()
        norms: tuple[tuple[float, ...], ...] = ()
        item_groups: Mapping[str, str] = field(default_factory=dict[str, str])

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, batch=1)
        self.weights = Weights(axes=tuple(axes), norms=settings.norms)
        _check(settings, len(axes), self.weights)
        self._seed = seed
        self._settings = settings
        self._rules = GainRules(min_gain=settings.min_gain, keep=settings.keep, heats=settings.heats)
        self._features = _standardised(settings.features, self.weights.n_sources)
        self._model = GainModel(self.weights.n_sources, self._features.shape[1] + 2)
        self._scores = ItemScores(settings.item_groups)
        self._queue: list[Genome] = []
        self._open: set[int] = set()  # numbers of trials without an outcome
        self._step: _Step | None = None
        self._ended: Verdict = "open"
        self._left_out: dict[int, Genome] = {}
        self._last_heat = 0
        self._has_new_trim = False
        self.steps: list[Step] = []
        self.contributions: dict[int, Gain] = {}
        self.verdict: Verdict = "open"
        self._is_done = False

    @property
    def chosen(self) -> tuple[int, ...]:
        """The chosen sources, in the order in which they were added."""
        return self.weights.chosen

    @property
    def batch(self) -> int:
        """Number of trials of the next heat."""
        self._advance()
        return max(1, len(self._queue))

    def ask(self, n: int) -> list[Trial]:
        """Propose all trials of the next heat, since they need the same items.

        None are proposed if the heat has more than n, while outcomes are missing, or when all is decided.
        """
        self._advance()
        if n < len(self._queue):
            return []
        trials = [self._history.ask(genome) for genome in self._queue]
        self._queue = []
        self._open.update(trial.number for trial in trials)
        return trials

    def scores_of(self, sources: Sequence[int]) -> dict[str, float]:
        """Return the item scores of the merge of some sources so far."""
        return dict(self._scores.of(self.weights.genome(sources)))

    def _advance(self) -> None:
        """Take new outcomes; if all trials of the heat are told, plan the next one."""
        for observation in self._history.take_all():
            self._open.discard(observation.number)
            self._scores.add(observation)
        while not self._queue and not self._open and not self._is_done:
            if self._left_out:
                self._end()
            elif self._step is None:
                self._begin_step(self.weights.trimmed())
            else:
                self._end_heat(self._step)

    # steps

    def _begin_step(self, weights: Weights) -> None:
        """Begin a step with the chosen sources at these weights, which are taken when they are scored."""
        candidates = self._additions(weights)
        predicted = {i: self._model.predict(i, self._features_of(i)) for i in candidates}
        order = sorted(candidates, key=lambda i: (-(predicted[i].mean + predicted[i].error), i))
        step = self._step = _Step(weights=weights, predicted=predicted)
        step.races = self._races(step, order)
        self._next_race(step)

    def _races(self, step: _Step, order: Sequence[int]) -> Iterator[tuple[list[WeightChange], int]]:
        """Return the changes to race, one race after the other, each with its most heats."""
        heats, weights = self._settings.heats, step.weights
        first = len(order) if not self.steps else max(FIRST, math.ceil(self._settings.keep * len(order)))
        yield weights.additions(order[:first]), heats
        yield weights.additions(order[first:]), heats
        if not self.chosen:
            yield self._pairs(order), heats
            return
        best = self._best(step)
        yield best, 2 * heats
        if not self._has_new_trim:
            yield weights.other_trims(), heats
            yield weights.whole_additions([change.sources[0] for change in best]), heats

    def _best(self, step: _Step) -> list[WeightChange]:
        """Return the additions with the highest upper bounds of their gains, without hopeless ones."""
        alive = (
            change
            for change, gain in step.gains.items()
            if change.sources
            and not self._rules.is_hopeless(gain)
            and not self._has_failed(step.weights.changed(change))
        )
        bounds = {change: step.gains[change].mean + step.gains[change].error for change in alive}
        return sorted(bounds, key=lambda change: -bounds[change])[:LAST]

    def _additions(self, weights: Weights) -> list[int]:
        """Return the sources that may be added: neither chosen, nor failed, nor too many or too costly."""
        settings = self._settings
        if settings.most is not None and len(self.chosen) >= settings.most:
            return []
        return [i for i in self._left(weights) if self._fits((i,))]

    def _left(self, weights: Weights) -> list[int]:
        """Return the sources that are neither chosen nor failed."""
        left = weights.additions(i for i in range(weights.n_sources) if i not in self.chosen)
        return [change.sources[0] for change in left if not self._has_failed(weights.changed(change))]

    def _has_failed(self, weights: Weights) -> bool:
        return weights.genome() in self._scores.failed

    def _fits(self, added: Sequence[int]) -> bool:
        """Return whether the cost of sources and the chosen ones is within the capacity."""
        settings = self._settings
        return settings.capacity is None or (
            math.fsum(settings.costs[i] for i in (*self.chosen, *added)) <= settings.capacity
        )

    def _pairs(self, sources: Sequence[int]) -> list[WeightChange]:
        """Return the pairs of some sources; some at random if there are many."""
        alive = sorted(i for i in sources if self.weights.genome([i]) not in self._scores.failed)
        pairs = [pair for pair in combinations(alive, 2) if self._fits(pair)]
        if self._settings.most == 1 or len(pairs) < 2:
            return []
        if len(pairs) > MOST_PAIRS:
            pairs = sorted(random.Random(self._seed).sample(pairs, MOST_PAIRS))
        return [WeightChange(pair) for pair in pairs]

    def _next_race(self, step: _Step) -> None:
        """Begin the next race; if there is none, the selection ends."""
        race = next((race for race in step.races if race[0]), None)
        if race is not None:
            rules = replace(self._rules, heats=race[1])
            step.race = ChangeRace(race[0], step.weights, self._scores, rules, step.first_items)
            self._queue = step.race.genomes()
            return
        gains = step.by_source(None)
        if not gains:
            self._ended = "full" if self._left(step.weights) else "all"
        else:
            may_help = gains[best_measured(gains)].mean >= self._settings.min_gain
            self._ended = "cannot tell" if may_help else "enough"
        self._close_step(step, None)

    def _end_heat(self, step: _Step) -> None:
        race = step.race
        assert race is not None, "a step begins with a race"
        if not self._has_failed(step.weights):
            self.weights = step.weights
        elif not self._has_failed(self.weights):
            self._begin_step(self.weights)
            return
        else:
            self._ended = "cannot tell"
            self._close_step(step, None)
            return
        race.end_heat()
        if not race.is_over:
            self._queue = race.genomes()
            return
        step.gains |= race.gains
        if race.winner is None:
            self._next_race(step)
        elif len(race.winner.sources) > 1:
            self._close_step(step, _best_partner(race.winner, race.gains))
        else:
            self._close_step(step, race.winner)

    def _close_step(self, step: _Step, change: WeightChange | None) -> None:
        self._step = None
        gains, items = step.by_source(change), self.scores_of(self.chosen)
        for source, gain in gains.items():
            self._model.learn(source, self._features_of(source), gain)
        if change is None or change.sources:
            self.steps.append(
                Step(
                    chosen=self.chosen,
                    gains=gains,
                    predicted=step.predicted,
                    added=None if change is None else change.sources[0],
                    items=items,
                )
            )
        if change is not None:
            self.weights = self.weights.changed(change)
            self._has_new_trim = not change.sources
        elif len(self.chosen) > 1:
            self._leave_out(self.chosen)
        else:
            self._end_with_one()

    # the end

    def _end_with_one(self) -> None:
        """End with at most one source; without it if it was chosen for its pairs and none gained enough."""
        if self.chosen and self.steps[0].gains[self.chosen[0]].mean < self._settings.min_gain:
            self.weights = self.weights.without(self.chosen[0])
        self._finish()

    def _leave_out(self, sources: Sequence[int]) -> None:
        """Score the chosen sources, and without each of some."""
        self._last_heat += 1
        self._left_out |= {i: self.weights.without(i).genome() for i in sources}
        self._queue = [self.weights.genome(), *(self._left_out[i] for i in sources)]

    def _end(self) -> None:
        """Look again at sources whose contribution is not sure, or drop the least if it is surely too small.

        A source without which the merge fails stays.
        """
        now = self.weights.genome()
        gains = self.contributions = {
            i: self._scores.gain(now, genome)
            for i, genome in self._left_out.items()
            if genome not in self._scores.failed
        }
        unsure = [i for i, gain in gains.items() if not self._rules.is_enough(gain)]
        too_small = [i for i in unsure if self._rules.is_hopeless(gains[i])]
        if unsure and self._last_heat < self._settings.last_heats:
            self._leave_out(unsure)
        elif too_small:
            self.weights = self.weights.without(min(too_small, key=lambda i: gains[i].mean))
            self.contributions, self._left_out, self._last_heat = {}, {}, 0
            self._leave_out(self.chosen) if len(self.chosen) > 1 else self._finish()
        else:
            self._finish()

    def _finish(self) -> None:
        self._left_out, self._is_done, self.verdict = {}, True, self._ended

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


def _best_partner(winner: WeightChange, gains: Mapping[WeightChange, Gain]) -> WeightChange:
    """Return the addition of the source of the best pair whose other pairs gain most on average."""
    others = {
        i: [gain.mean for change, gain in gains.items() if len(change.sources) > 1 and i in change.sources]
        for i in winner.sources
    }
    return WeightChange((max(winner.sources, key=lambda i: fmean(others[i])),))


def _check(settings: Stepwise.Settings, n_axes: int, weights: Weights) -> None:
    """Check that settings have numbers for each source."""
    features, similarity, costs = settings.features, settings.similarity, settings.costs
    n, n_spans = weights.n_sources, weights.n_spans
    require(
        "norms", f"{len(settings.norms)} rows of {n_spans}", f"{n_axes} numbers", holds=n * n_spans == n_axes
    )
    for name, rows, wanted in (
        ("features", features, len((*features, ())[0])),
        ("similarity", similarity, n if similarity else 0),
        ("norms", settings.norms, n_spans if settings.norms else 0),
    ):
        require(name, f"{len(rows)} rows", f"{n} rows", holds=len(rows) in (0, n))
        lengths = sorted({len(row) for row in rows})
        expected = f"{wanted} finite numbers in each row"
        finite = all(math.isfinite(number) for row in rows for number in row)
        require(name, f"{lengths}", expected, holds=finite and lengths in ([], [wanted]))
    require("costs", f"{len(costs)} costs", f"{n} costs", holds=len(costs) in (0, n))
    finite = all(math.isfinite(cost) and cost >= 0 for cost in costs)
    require("costs", str(costs), "finite costs of 0 or more", holds=finite)
    holds = settings.capacity is None or bool(costs)
    require("capacity", str(settings.capacity), "costs with it", holds=holds)


def _standardised(rows: Sequence[Sequence[float]], n: int) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1; constant columns are 0."""
    matrix = np.asarray(rows, dtype=np.float64).reshape(n, -1) if rows else np.zeros((n, 0))
    spread = matrix.std(axis=0)
    return (matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
