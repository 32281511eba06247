"""A race between changes of a merge: all are scored on the same items; the best go on to the next heat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.strategies.gain_model import Gain, paired_gain
from kingyo.strategies.history import Observation
from kingyo.strategies.source_weights import WeightChange, Weights
from kingyo.types import Genome

CERTAIN = 2.0
"""Standard errors by which a gain must exceed 0."""
LIKELY = 1.0
"""The same for the best change after the last heat. A source too many costs little, and may be dropped at the
end; one that is missing may keep all others from being found."""


class ItemScores:
    """The item scores of merges, and which merges failed.

    Args:
        groups: item -> its group, for items that belong together.
    """

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._groups = groups
        self._scores: dict[Genome, dict[str, float]] = {}
        self.failed: set[Genome] = set()

    def add(self, observation: Observation) -> None:
        """Add the scores of a trial."""
        if observation.score is None:
            self.failed.add(observation.genome)
        self._scores.setdefault(observation.genome, {}).update(observation.items)

    def of(self, genome: Genome) -> Mapping[str, float]:
        """Return item -> score of a merge."""
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
    """When a change is good enough.

    Attributes:
        min_gain: least gain.
        keep: share of the changes that goes on after a heat.
        heats: most heats.
    """

    min_gain: float
    keep: float
    heats: int

    def is_enough(self, gain: Gain) -> bool:
        """Return whether a gain is large enough and surely above 0."""
        return gain.mean >= self.min_gain and gain.mean > CERTAIN * gain.error

    def is_hopeless(self, gain: Gain) -> bool:
        """Return whether the upper bound of a gain is too small."""
        return gain.mean + CERTAIN * gain.error < self.min_gain


class ChangeRace:
    """The race of a few changes.

    Args:
        changes: what is raced.
        weights: the merge that is changed.
        scores: of all merges so far.
        rules: when a change is good enough.
        first_items: change -> items of its first heat, in this race or one before; filled by the race.

    Attributes:
        gains: change -> its gain; without the items of the first heat if it went on.
        winner: the best change, if it is good enough.
        is_over: whether there is no further heat.
    """

    def __init__(
        self,
        changes: Sequence[WeightChange],
        weights: Weights,
        scores: ItemScores,
        rules: GainRules,
        first_items: dict[WeightChange, set[str]],
    ) -> None:
        self._alive = list(changes)
        self._weights = weights
        self._scores = scores
        self._rules = rules
        self._heat = 1
        self._first_items = first_items
        self.gains: dict[WeightChange, Gain] = {}
        self.winner: WeightChange | None = None
        self.is_over = False

    def genomes(self) -> list[Genome]:
        """Return the merges of the next heat; the first one is that of the chosen sources."""
        return [self._weights.genome(), *map(self._genome_of, self._alive)]

    def end_heat(self) -> None:
        """Measure gains, and choose the winner or those that go on."""
        self._alive = [change for change in self._alive if self._genome_of(change) not in self._scores.failed]
        for change in self._alive:
            genome = self._genome_of(change)
            without = self._first_items.get(change)
            if without is None:
                self._first_items[change] = set(self._scores.of(genome))
            self.gains[change] = self._scores.gain(genome, self._weights.genome(), without)
        best = max(self._alive, key=lambda change: self.gains[change].mean, default=None)
        if best is None or self._rules.is_hopeless(self.gains[best]):
            self.is_over = True
        elif self._heat > 1 and self._rules.is_enough(self.gains[best]):
            self.winner, self.is_over = best, True
        elif self._heat >= self._rules.heats:
            self._end(best, self.gains[best])
        else:
            self._alive = self._best()
            self._heat += 1

    def _end(self, best: WeightChange, gain: Gain) -> None:
        """Take the best change if it is likely to gain. For the first source, any gain will do."""
        least = LIKELY * gain.error if self._weights.chosen else 0.0
        is_large = gain.mean >= self._rules.min_gain
        self.winner = best if is_large and gain.mean > least else None
        self.is_over = True

    def _best(self) -> list[WeightChange]:
        """Return the best of a heat. Additions that tie with the last one go on if it gains, or none does."""
        alive = (change for change in self._alive if not self._rules.is_hopeless(self.gains[change]))
        ranked = sorted(alive, key=lambda change: -self.gains[change].mean)
        n = max(2, math.ceil(self._rules.keep * len(ranked)))
        if len(ranked[0].sources) > 1:  # pairs are many, and most of them solve nothing
            return [change for change in ranked[:n] if self.gains[change].mean > 0] or ranked
        best, last = (self.gains[ranked[i]].mean for i in (0, min(n, len(ranked)) - 1))
        ties = ranked[n:] if last > 0 or best <= 0 else []
        return [*ranked[:n], *(change for change in ties if self.gains[change].mean == last)]

    def _genome_of(self, change: WeightChange) -> Genome:
        return self._weights.changed(change).genome()
