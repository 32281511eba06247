"""Stepwise selection: which sources to merge, and how many, from paired scores of trial merges.

    step      every source that is not chosen is a possible addition to the merge of the chosen ones
    weights   one source has weight 1, k sources have min(1, 2 / √k) each: a sum of unrelated task vectors is
              never longer than one of four. Before the selection ends, other weights are tried
    heat      the chosen set and some additions are scored on the same items; the next heat has other items,
              and only the best third of the additions
    decision  the best addition is chosen if its gain, measured after the first heat, is large enough and
              exceeds 0 by two standard errors; if no addition is chosen, the selection ends
    end       each chosen source is left out in turn. One that surely contributes too little is dropped

A step begins with the third of the additions from which most is expected (``gain_model``); the others follow
only if none of these is chosen, so the selection never ends before all have been tried. (Forward selection
with backward elimination: Efroymson 1960, Multiple regression analysis; lazy evaluation: Minoux 1978; heats:
Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits, sequential halving.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from kingyo.strategies.checks import Positive, Share, Size, require
from kingyo.strategies.gain_model import Gain, GainModel, paired_gain
from kingyo.strategies.history import BaseStrategy
from kingyo.types import Axis, Genome, Trial

CERTAIN = 2.0
"""Standard errors by which a gain must exceed 0."""
LIKELY = 1.0
"""The same for the best addition after the last heat."""
LONGEST = 2.0
"""Greatest length of a sum of task vectors of length 1, if they are unrelated and the scale is 1."""
SCALES, HALF, MORE = (0.7, 1.4), 0.5, 1.5
"""Other weights that are tried before the selection ends: factors of all weights, the share of a weight for
additions, and the factor of the weight of each chosen source.
"""
Verdict = Literal["open", "enough", "cannot tell", "full"]
"""Whether the selection goes on; ended because no source adds enough, because the items cannot tell whether
one does, or because no source may be added."""


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


class Arm(NamedTuple):
    """A change of the chosen set: another source or share of a weight, and the scale of all weights."""

    source: int | None
    scale: float
    share: float = 1.0


@dataclass(kw_only=True)
class _Race:
    """The heats of one step: the arms of this part, those still in it, and the sources that wait."""

    alive: list[Arm]
    waiting: list[int]
    predicted: dict[int, Gain]
    heat: int = 0
    is_rescaled: bool = False
    early: dict[Arm, set[str]] = field(default_factory=dict[Arm, set[str]])
    gains: dict[Arm, Gain] = field(default_factory=dict[Arm, Gain])
    is_open: bool = False

    def by_source(self, scale: float, added: Arm | None = None) -> dict[int, Gain]:
        """Return the gain of each source in full at a scale; that of the chosen arm as it was added."""
        gains = {
            arm.source: gain
            for arm, gain in self.gains.items()
            if arm == (arm.source, scale, 1.0) and arm.source is not None
        }
        if added is not None and added.source is not None:
            gains[added.source] = self.gains[added]
        return gains


class Stepwise(BaseStrategy):
    """Choose sources one at a time. Each axis is the weight of a source; 0 leaves it out.

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
            heats: most heats for the same additions; then it cannot tell.
            last_heats: most heats at the end, for the same chosen sources.
            features: numbers known of each source, one row per source, such as the norm of its task vector.
            similarity: similarity of each pair of sources, such as the cosine of task vectors.
        """

        min_gain: Share = 0.01
        most: Size | None = None
        costs: tuple[float, ...] = ()
        capacity: Positive | None = None
        keep: Share = 1 / 3
        heats: Size = 8
        last_heats: Size = 6
        features: tuple[tuple[float, ...], ...] = ()
        similarity: tuple[tuple[float, ...], ...] = ()

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, batch=1)
        _check(settings, len(axes))
        self._settings = settings
        self._features = _standardised(settings.features, len(axes))
        self._model = GainModel(len(axes), self._features.shape[1] + 2)
        self._scores: dict[Genome, dict[str, float]] = {}
        self._failed: set[Genome] = set()
        self._queue: list[Genome] = []
        self._open: set[int] = set()  # numbers of trials without an outcome
        self._race: _Race | None = None
        self._left_out: dict[int, Genome] = {}
        self._last_heat = 0
        self.chosen: tuple[int, ...] = ()
        self.scale = 1.0
        self.shares: dict[int, float] = {}
        self.steps: list[Step] = []
        self.contributions: dict[int, Gain] = {}
        self.verdict: Verdict = "open"
        self._is_done = False

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

    def genome(self, sources: Sequence[int], arm: Arm | None = None) -> Genome:
        """Return the genome that merges some sources, with the shares and the scale of now or of an arm."""
        scale, shares = (self.scale, self.shares) if arm is None else (arm.scale, dict(self.shares))
        if arm is not None and arm.source is not None:
            shares[arm.source] = arm.share
        length = math.sqrt(math.fsum(shares.get(i, 1.0) ** 2 for i in sources))
        weight = scale * min(1.0, LONGEST / length) if len(sources) > 1 else 1.0
        return tuple(
            min(axis.high, round(weight * (shares.get(i, 1.0) if len(sources) > 1 else 1.0), 3))
            if i in sources
            else (axis.low if axis.neutral is None else axis.neutral)
            for i, axis in enumerate(self._axes)
        )

    def scores_of(self, sources: Sequence[int]) -> dict[str, float]:
        """Return the item scores of the merge of some sources so far."""
        return dict(self._scores.get(self.genome(sources), {}))

    def _advance(self) -> None:
        """Take new outcomes; if all trials of the heat are told, plan the next one."""
        for observation in self._history.take_all():
            self._open.discard(observation.number)
            if observation.score is None:
                self._failed.add(observation.genome)
            self._scores.setdefault(observation.genome, {}).update(observation.items)
        while not self._queue and not self._open and not self._is_done:
            if self._left_out:
                self._end()
            elif self._race is None:
                self._begin_step()
            else:
                self._end_heat(self._race)

    # steps

    def _begin_step(self) -> None:
        candidates = self._additions()
        predicted = {i: self._model.predict(i, self._features_of(i)) for i in candidates}
        order = sorted(candidates, key=lambda i: (-(predicted[i].mean + predicted[i].error), i))
        first = len(order) if not self.steps else max(3, math.ceil(self._settings.keep * len(order)))
        self._race = _Race(alive=self._arms(order[:first]), waiting=order[first:], predicted=predicted)
        if not order:
            self.verdict = "full"
            self._close_step(self._race, None)
        else:
            self._begin_heat(self._race)

    def _arms(self, sources: Sequence[int]) -> list[Arm]:
        return [Arm(source, self.scale) for source in sources]

    def _additions(self) -> list[int]:
        """Return the sources that may be added: neither chosen, nor failed, nor too many or too costly."""
        settings, chosen = self._settings, self.chosen
        if settings.most is not None and len(chosen) >= settings.most:
            return []
        left = math.inf if settings.capacity is None else settings.capacity
        costs = settings.costs or (0.0,) * len(self._axes)
        left -= sum(costs[i] for i in chosen)
        return [
            i
            for i in range(len(self._axes))
            if i not in chosen and costs[i] <= left and self.genome([*chosen, i]) not in self._failed
        ]

    def _begin_heat(self, race: _Race) -> None:
        race.heat += 1
        self._queue = [self.genome(self.chosen), *map(self._genome_of, race.alive)]

    def _genome_of(self, arm: Arm) -> Genome:
        added = [] if arm.source is None or not self._is_addition(arm) else [arm.source]
        return self.genome([*self.chosen, *added], arm)

    def _is_addition(self, arm: Arm) -> bool:
        """Return whether an arm adds a source; others change weights of the chosen set."""
        return arm.source is not None and arm.source not in self.chosen

    def _end_heat(self, race: _Race) -> None:
        if self.genome(self.chosen) in self._failed:
            self.verdict = "cannot tell"
            self._close_step(race, None)
            return
        race.alive = [arm for arm in race.alive if self._genome_of(arm) not in self._failed]
        now = self.genome(self.chosen)
        for arm in race.alive:
            if race.heat == 1:
                race.early[arm] = set(self._scores.get(self._genome_of(arm), {}))
            without = race.early[arm] if race.heat > 1 else None
            race.gains[arm] = self._gain(self._genome_of(arm), now, without)
        best = max(race.alive, key=lambda arm: race.gains[arm].mean, default=None)
        gain = None if best is None else race.gains[best]
        if gain is None or best is None or self._is_hopeless(gain):
            self._next_part(race)
        elif race.heat > 1 and self._is_enough(gain):
            self._close_step(race, best)
        elif race.heat >= self._settings.heats:
            least = LIKELY * gain.error if self.chosen else 0.0
            if gain.mean >= self._settings.min_gain and gain.mean > least:
                self._close_step(race, best)
                return
            race.is_open = race.is_open or (self._is_addition(best) and gain.mean >= self._settings.min_gain)
            self._next_part(race)
        else:
            race.alive = self._best_of(race)
            self._begin_heat(race)

    def _best_of(self, race: _Race) -> list[Arm]:
        """Return the best arms of a heat, and all that tie with the last of them."""
        ranked = sorted(race.alive, key=lambda arm: -race.gains[arm].mean)
        n = max(2 if race.heat < 3 else 1, math.ceil(self._settings.keep * len(ranked)))
        last = race.gains[ranked[min(n, len(ranked)) - 1]].mean
        return [arm for arm in ranked if race.gains[arm].mean >= last]

    def _is_enough(self, gain: Gain) -> bool:
        return gain.mean >= self._settings.min_gain and gain.mean > CERTAIN * gain.error

    def _is_hopeless(self, gain: Gain) -> bool:
        """Return whether the upper bound of a gain is too small."""
        return gain.mean + CERTAIN * gain.error < self._settings.min_gain

    def _next_part(self, race: _Race) -> None:
        """Try the additions that wait, then other scales of all weights, or end."""
        race.heat = 0
        if race.waiting:
            race.alive, race.waiting = self._arms(race.waiting), []
        elif len(self.chosen) > 1 and not race.is_rescaled:
            race.alive, race.is_rescaled = self._other_weights(race), True
        else:
            ended: Verdict = "cannot tell" if race.is_open else "enough"
            self.verdict = ended if race.gains else "full"
            self._close_step(race, None)
            return
        self._begin_heat(race)

    def _other_weights(self, race: _Race) -> list[Arm]:
        """Return all additions by half, more of each chosen source, and other scales of all weights."""
        return [
            *(Arm(source, self.scale, HALF) for source in race.by_source(self.scale)),
            *(Arm(source, self.scale, MORE * self.shares[source]) for source in self.chosen),
            *(Arm(None, round(self.scale * factor, 3)) for factor in SCALES),
        ]

    def _close_step(self, race: _Race, arm: Arm | None) -> None:
        gains, items = race.by_source(self.scale, arm), self.scores_of(self.chosen)
        for source, gain in gains.items():
            self._model.learn(source, self._features_of(source), gain)
        if arm is not None:
            self.scale = arm.scale
        if arm is not None and not self._is_addition(arm):
            self.shares |= {} if arm.source is None else {arm.source: arm.share}
            self._race = None
            return
        self.steps.append(
            Step(
                chosen=self.chosen,
                gains=gains,
                predicted=race.predicted,
                added=None if arm is None else arm.source,
                items=items,
            )
        )
        if arm is not None and arm.source is not None:
            self.chosen = (*self.chosen, arm.source)
            self.shares[arm.source] = arm.share
            self._race = None
        elif len(self.chosen) > 1:
            self._leave_out()
        else:
            self._is_done = True

    # the end

    def _leave_out(self) -> None:
        self._last_heat += 1
        self._left_out = {i: self.genome([j for j in self.chosen if j != i]) for i in self.chosen}
        self._queue = [self.genome(self.chosen), *self._left_out.values()]

    def _end(self) -> None:
        """Look again at what each source contributes, or drop the least that surely contributes too little.

        A source without which the merge fails stays.
        """
        self.contributions = {
            i: self._gain(self.genome(self.chosen), genome)
            for i, genome in self._left_out.items()
            if genome not in self._failed
        }
        gains = self.contributions
        unsure = [i for i, gain in gains.items() if not self._is_enough(gain)]
        hopeless = [i for i in unsure if self._is_hopeless(gains[i])]
        if unsure and self._last_heat < self._settings.last_heats:
            self._leave_out()
        elif hopeless:
            worst = min(hopeless, key=lambda i: gains[i].mean)
            self.chosen = tuple(i for i in self.chosen if i != worst)
            self.contributions, self._last_heat = {}, 0
            self._leave_out() if len(self.chosen) > 1 else self._finish()
        else:
            self._finish()

    def _finish(self) -> None:
        self._left_out, self._is_done = {}, True

    # gains

    def _gain(self, one: Genome, other: Genome, without: set[str] | None = None) -> Gain:
        """Return the gain on shared items outside some; on all if there are no others, as with few items."""
        ours, theirs = self._scores.get(one, {}), self._scores.get(other, {})
        both = ours.keys() & theirs.keys()
        shared = sorted(both - (without or set())) or sorted(both)
        return paired_gain([ours[item] for item in shared], [theirs[item] for item in shared])

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


def _check(settings: Stepwise.Settings, n: int) -> None:
    """Check that settings have numbers for n sources."""
    features, similarity, costs = settings.features, settings.similarity, settings.costs
    width = n if similarity else 0
    for name, rows, wanted in (
        ("features", features, len((*features, ())[0])),
        ("similarity", similarity, width),
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
