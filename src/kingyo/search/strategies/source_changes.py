"""Changes of a merge of sources, for stepwise selection: their gains, weights after them, and their race."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from kingyo.core.types import Axis, Genome, Outcome
from kingyo.stats import Groups, Interval
from kingyo.stats.groups import grouped_difference
from kingyo.stats.intervals import normal_quantile

LONGEST = 2.0  # greatest length of a sum of unrelated task vectors of length 1, if the scale is 1
PRUNED = 0.25  # share of the span weights that a merge leaves out at first
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5)  # shares to try
KEEP = 1 / 3  # share of the changes that goes on after a round
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
        norms = sorted(norm for source in self.chosen for norm in self._norms_of(source) if norm > 0)
        return replace(self, least_norm=norms[round(self.share * len(norms))] if norms else 0.0)

    def without(self, source: int) -> Weights:
        rest = tuple(i for i in self.chosen if i != source)
        scale = self.scale * _shrinkage(len(self.chosen)) / _shrinkage(len(rest))
        return replace(self, chosen=rest, scale=scale)

    def other_shares(self) -> list[SourceChange]:
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


class ChangeRace:
    """The race of a few changes: all are scored on the same items; the best go on to the next round.

    Gains leave out the items of a change's first round (``first_items``, which the race fills) if it went on.
    """

    def __init__(
        self,
        changes: Sequence[SourceChange],
        weights: Weights,
        scores: ItemScores,
        *,
        min_gain: float,
        rounds: int,
        first_items: dict[SourceChange, set[str]],
    ) -> None:
        self._alive = list(changes)
        self._weights = weights
        self._scores = scores
        self._min_gain = min_gain
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
        if gain is None or gain.is_hopeless(self._min_gain):
            self.is_over = True
        elif self._round > 1 and gain.is_enough(self._min_gain):
            self.winner, self.is_over = best, True
        elif self._round >= self._rounds:
            # any gain will do for the first source
            least = LIKELY * gain.error if self._weights.chosen else 0.0
            self.winner = best if gain.mean >= self._min_gain and gain.mean > least else None
            self.is_over = True
        else:
            self._alive = self._best()
            self._round += 1

    def _best(self) -> list[SourceChange]:
        """Return the best of a round. Additions that tie with the last go on if it gains, or none does."""
        alive = (change for change in self._alive if not self.gains[change].is_hopeless(self._min_gain))
        ranked = sorted(alive, key=lambda change: -self.gains[change].mean)
        n = max(2, math.ceil(KEEP * len(ranked)))
        if len(ranked[0].sources) > 1:  # pairs are many, and most of them solve nothing
            return [change for change in ranked[:n] if self.gains[change].mean > 0] or ranked
        best, last = (self.gains[ranked[i]].mean for i in (0, min(n, len(ranked)) - 1))
        ties = ranked[n:] if last > 0 or best <= 0 else []
        return [*ranked[:n], *(change for change in ties if self.gains[change].mean == last)]

    def _genome_of(self, change: SourceChange) -> Genome:
        return self._weights.changed(change).genome()


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A difference of mean scores, paired by item, with its 95% interval and its standard error."""

    interval: Interval
    error: float

    @classmethod
    def normal(cls, mean: float, error: float, n: int = 0) -> Gain:
        reach = normal_quantile(0.95) * error
        low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
        return cls(interval=Interval(score=mean, n=n, low=low, high=high), error=error)

    @property
    def mean(self) -> float:
        return self.interval.score

    @property
    def n(self) -> int:
        return self.interval.n

    def is_enough(self, least: float) -> bool:
        return self.mean >= least and self.mean > CERTAIN * self.error

    def is_hopeless(self, least: float) -> bool:
        return self.mean + CERTAIN * self.error < least


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
