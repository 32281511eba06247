"""Changes of a merge of sources, for stepwise selection: their gains, weights after them, and their race."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Axis, Genome, Outcome
from kingyo.stats import Groups, Interval
from kingyo.stats.groups import grouped_difference
from kingyo.stats.intervals import normal_quantile

LONGEST = 2.0  # greatest length of a sum of unrelated task vectors of length 1, if the scale is 1
PRUNED = 0.25  # share of the span weights that a merge leaves out at first
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5)  # shares to try
CERTAIN = 2.0  # standard errors by which a gain must exceed 0
LIKELY = 1.0
"""The same for the best change after the last round. A source too many costs little, and may be dropped at
the end; one that is missing may keep all others from being found."""


class SourceChange(NamedTuple):
    """Sources that are added, and another share of span weights to leave out; None: the same as now."""

    sources: tuple[int, ...]
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The chosen sources with their weights.

    One source has weight 1, k sources have scale · min(1, 2 / √k) each, in every span of layers. A merge of
    several sources leaves out span weights whose task vector has a norm below that of a share of those of the
    chosen sources; the largest of a source always stays.

    Attributes:
        axes: by source, then by span.
        norms: norm of the task vector in each span, one row per source; empty: one span.
        chosen: sources, in the order in which they were added.
        scale: factor of all weights.
        share: this share.
        least_norm: norm below which a span weight is left out.
    """

    axes: tuple[Axis, ...]
    norms: tuple[tuple[float, ...], ...] = ()
    chosen: tuple[int, ...] = ()
    scale: float = 1.0
    share: float = PRUNED
    least_norm: float = 0.0

    @property
    def n_spans(self) -> int:
        return len(self.norms[0]) if self.norms else 1

    @property
    def n_sources(self) -> int:
        return len(self.axes) // self.n_spans

    def genome(self, sources: Sequence[int] | None = None) -> Genome:
        on = self.chosen if sources is None else sources
        weight = round(self.scale * _shrinkage(len(on)), 3) if len(on) > 1 else 1.0
        genes: list[float] = []
        for i, axis in enumerate(self.axes):
            source, span = divmod(i, self.n_spans)
            is_on = source in on and (len(on) == 1 or self._is_kept(source, span))
            neutral = axis.low if axis.neutral is None else axis.neutral
            genes.append(min(axis.high, weight) if is_on else neutral)
        return tuple(genes)

    def of(self, source: int) -> Genome:
        return self.genome()[source * self.n_spans : (source + 1) * self.n_spans]

    def changed(self, change: SourceChange) -> Weights:
        weights = replace(self, chosen=(*self.chosen, *change.sources))
        return weights if change.share is None else replace(weights, share=change.share).pruned()

    def pruned(self) -> Weights:
        """Leave out the share of the span weights of all chosen sources."""
        norms = sorted(norm for source in self.chosen for norm in self._norms_of(source) if norm > 0)
        return replace(self, least_norm=norms[round(self.share * len(norms))] if norms else 0.0)

    def without(self, source: int) -> Weights:
        rest = tuple(i for i in self.chosen if i != source)
        scale = self.scale * _shrinkage(len(self.chosen)) / _shrinkage(len(rest))
        return replace(self, chosen=rest, scale=scale)

    def other_shares(self) -> list[SourceChange]:
        """Return the merges of the chosen sources that leave out another share of span weights."""
        return self._distinct([self], [SourceChange((), share) for share in SHARES])

    def whole_additions(self, sources: Sequence[int]) -> list[SourceChange]:
        known = [self.changed(SourceChange((source,))) for source in sources]
        return self._distinct(known, [SourceChange((source,), 0.0) for source in sources])

    def _distinct(self, known: Iterable[Weights], changes: Iterable[SourceChange]) -> list[SourceChange]:
        seen = {weights.genome() for weights in known}
        distinct: list[SourceChange] = []
        for change in changes:
            genome = self.changed(change).genome()
            if genome not in seen:
                seen.add(genome)
                distinct.append(change)
        return distinct

    def _norms_of(self, source: int) -> tuple[float, ...]:
        return self.norms[source] if self.norms else (0.0,)

    def _is_kept(self, source: int, span: int) -> bool:
        norms = self._norms_of(source)
        return norms[span] == 0 or norms[span] >= min(self.least_norm, max(norms))


def _shrinkage(n: int) -> float:
    """Return the factor of n weights that keeps a sum of unrelated task vectors short."""
    return min(1.0, LONGEST / math.sqrt(n)) if n else 1.0


class ItemScores:
    """The item scores of merges, and which merges failed; ``groups``: item -> its group."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._groups = groups
        self._scores: dict[Genome, dict[str, float]] = {}
        self.failed: set[Genome] = set()

    def add(self, outcome: Outcome) -> None:
        if outcome.score is None:
            self.failed.add(outcome.genome)
        self._scores.setdefault(outcome.genome, {}).update(outcome.items)

    def of(self, genome: Genome) -> Mapping[str, float]:
        return self._scores.get(genome, {})

    def gain(self, one: Genome, other: Genome, without: set[str] | None = None) -> Gain:
        """Return the gain on shared items outside some; on all if there are no others, as with few items."""
        ours, theirs = self.of(one), self.of(other)
        both = ours.keys() & theirs.keys()
        shared = sorted(both - (without or set())) or sorted(both)
        groups = [self._groups.get(item, "") for item in shared]
        return paired_gain([ours[item] for item in shared], [theirs[item] for item in shared], groups)


@dataclass(frozen=True, kw_only=True)
class GainRules:
    """When a change is good enough; ``keep``: share of the changes that goes on after a round."""

    min_gain: float
    keep: float

    def is_enough(self, gain: Gain) -> bool:
        return gain.mean >= self.min_gain and gain.mean > CERTAIN * gain.error

    def is_hopeless(self, gain: Gain) -> bool:
        return gain.mean + CERTAIN * gain.error < self.min_gain


class ChangeRace:
    """The race of a few changes: all are scored on the same items; the best go on to the next round.

    ``first_items`` has the items of the first round of a change, in this race or one before; the race fills
    it. Gains leave them out if the change went on. There is a ``winner`` if the best change is good enough.
    """

    def __init__(
        self,
        changes: Sequence[SourceChange],
        weights: Weights,
        scores: ItemScores,
        rules: GainRules,
        *,
        rounds: int,
        first_items: dict[SourceChange, set[str]],
    ) -> None:
        self._alive = list(changes)
        self._weights = weights
        self._scores = scores
        self._rules = rules
        self._rounds = rounds
        self._round = 1
        self._first_items = first_items
        self.gains: dict[SourceChange, Gain] = {}
        self.winner: SourceChange | None = None
        self.is_over = False

    def genomes(self) -> list[Genome]:
        return [self._weights.genome(), *map(self._genome_of, self._alive)]

    def end_round(self) -> None:
        self._alive = [change for change in self._alive if self._genome_of(change) not in self._scores.failed]
        for change in self._alive:
            genome = self._genome_of(change)
            without = self._first_items.get(change)
            if without is None:
                self._first_items[change] = set(self._scores.of(genome))
            self.gains[change] = self._scores.gain(genome, self._weights.genome(), without)
        best = max(self._alive, key=lambda change: self.gains[change].mean, default=None)
        gain = None if best is None else self.gains[best]
        if gain is None or self._rules.is_hopeless(gain):
            self.is_over = True
        elif self._round > 1 and self._rules.is_enough(gain):
            self.winner, self.is_over = best, True
        elif self._round >= self._rounds:
            # any gain will do for the first source
            least = LIKELY * gain.error if self._weights.chosen else 0.0
            self.winner = best if gain.mean >= self._rules.min_gain and gain.mean > least else None
            self.is_over = True
        else:
            self._alive = self._best()
            self._round += 1

    def _best(self) -> list[SourceChange]:
        """Return the best of a round. Additions that tie with the last go on if it gains, or none does."""
        alive = (change for change in self._alive if not self._rules.is_hopeless(self.gains[change]))
        ranked = sorted(alive, key=lambda change: -self.gains[change].mean)
        n = max(2, math.ceil(self._rules.keep * len(ranked)))
        if len(ranked[0].sources) > 1:  # pairs are many, and most of them solve nothing
            return [change for change in ranked[:n] if self.gains[change].mean > 0] or ranked
        best, last = (self.gains[ranked[i]].mean for i in (0, min(n, len(ranked)) - 1))
        ties = ranked[n:] if last > 0 or best <= 0 else []
        return [*ranked[:n], *(change for change in ties if self.gains[change].mean == last)]

    def _genome_of(self, change: SourceChange) -> Genome:
        return self._weights.changed(change).genome()


Vector = NDArray[np.float64]

MEAN, WEIGHT, OWN, DRIFT = 0.05, 0.03, 0.08, 0.03
"""Prior standard deviations of μ, of each entry of β and of u, and of a gain between two sets of sources."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A difference of mean scores, paired by item, with its 95% interval and its standard error."""

    interval: Interval
    error: float

    @classmethod
    def normal(cls, mean: float, error: float, n: int = 0) -> Gain:
        """Return a gain with a normal distribution, such as a prediction, which rests on no items."""
        reach = normal_quantile(0.95) * error
        low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
        return cls(interval=Interval(score=mean, n=n, low=low, high=high), error=error)

    @property
    def mean(self) -> float:
        return self.interval.score

    @property
    def n(self) -> int:
        return self.interval.n


def paired_gain(one: Sequence[float], other: Sequence[float], groups: Sequence[str] = ()) -> Gain:
    """Return how much better one is than other on the same items, scored from 0 to 1.

    Its variance is that of ``Groups``: a few equal scores are not certain. ``groups`` has the group of each
    item (``Item.group``), empty for an item on its own; by default all are.

        >>> gain = paired_gain([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0])
        >>> gain.mean, round(gain.error, 2), gain.n
        (0.25, 0.28, 4)
    """
    gaps = np.subtract(one, other)
    if len(gaps) == 0:
        return Gain.normal(0.0, 1.0)
    own = Groups.of(groups) or Groups(numbers=np.arange(len(gaps)))
    return Gain(interval=grouped_difference(gaps, own)[0], error=math.sqrt(own.variance(gaps)))


class GainModel:
    """The posterior of gains after measurements: a Bayesian linear model.

    A gain is  μ + f · β + u_source + noise,  with Gaussian priors. μ is common to all sources, f are features
    of the source given the sources chosen so far (standardised), and u is what else the source brings. A
    source that was measured before is predicted near its earlier gains, one that was not by its features.
    """

    def __init__(self, n_sources: int, n_features: int) -> None:
        self._n_sources = n_sources
        priors = [MEAN, *[WEIGHT] * n_features, *[OWN] * n_sources]
        self._precision = np.diag(1 / np.square(priors))
        self._weighted = np.zeros(len(priors))

    def learn(self, source: int, features: Sequence[float], gain: Gain) -> None:
        row, weight = self._row(source, features), 1 / (gain.error**2 + DRIFT**2)
        self._precision = self._precision + weight * np.outer(row, row)
        self._weighted = self._weighted + weight * gain.mean * row

    def predict(self, source: int, features: Sequence[float]) -> Gain:
        row = self._row(source, features)
        solved = np.linalg.solve(self._precision, np.stack([self._weighted, row], axis=1))
        variance = float(row @ solved[:, 1]) + DRIFT**2
        return Gain.normal(float(row @ solved[:, 0]), math.sqrt(variance))

    def _row(self, source: int, features: Sequence[float]) -> Vector:
        own = np.zeros(self._n_sources)
        own[source] = 1.0
        return np.concatenate([[1.0], np.asarray(features, dtype=np.float64), own])
