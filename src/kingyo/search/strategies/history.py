"""In-memory log of a search, shared by all strategies.

It numbers trials, rejects invalid outcomes, ignores repeated ones, and returns outcomes in the order of their
numbers, regardless of the order in which they arrived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import genes
from kingyo.search.strategies.checks import require


class History:
    """In-memory log of a search."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        # A hash instead of the outcome, so that item scores do not stay in memory.
        self._fingerprints: dict[int, int] = {}
        self._fresh: dict[int, Outcome] = {}
        self._n_objectives: int | None = None

    @property
    def count(self) -> int:
        return len(self._trials)

    def ask(self, genome: Genome, parents: tuple[int, ...] = ()) -> Trial:
        trial = Trial(number=self.count, genome=genome, parents=parents)
        self._trials.append(trial)
        return trial

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record new outcomes; on an error, record none.

        Raises:
            KingyoError: an unknown trial, another genome than was asked, a score that is not finite, another
                number of objectives than before, or a second, different outcome of a trial.
        """
        n_objectives = self._count_objectives(outcomes)
        fingerprints: dict[int, int] = {}
        fresh: dict[int, Outcome] = {}
        for outcome in outcomes:
            self._check(outcome)
            number, fingerprint = outcome.number, _fingerprint(outcome)
            known = fingerprints.get(number, self._fingerprints.get(number))
            if known is None:
                fingerprints[number], fresh[number] = fingerprint, outcome
            else:
                remedy = "Ask for a new trial to evaluate its genome again."
                where, expected = f"outcome of trial {number}", "the outcome recorded before"
                require(where, "a different outcome", expected, holds=known == fingerprint, remedy=remedy)
        self._n_objectives = n_objectives
        self._fingerprints |= fingerprints
        self._fresh |= fresh

    def take(self, n: int, since: int = 0) -> list[Outcome]:
        """Remove and return the n lowest-numbered outcomes, or nothing if fewer are available.

        Call it from ``ask``, not from ``tell``, so that the order of tells does not matter. Outcomes of
        trials below ``since`` are dropped.
        """
        self._fresh = {number: outcome for number, outcome in self._fresh.items() if number >= since}
        if len(self._fresh) < n:
            return []
        return [self._fresh.pop(number) for number in sorted(self._fresh)[:n]]

    def take_all(self) -> list[Outcome]:
        """Remove and return all outcomes, in the order of their numbers. Call it from ``ask``."""
        return self.take(len(self._fresh)) if self._fresh else []

    def expect_objectives(self, outcomes: Sequence[Outcome]) -> None:
        """Raise unless outcomes from elsewhere, and all later ones, have the same number of objectives."""
        self._n_objectives = self._count_objectives(outcomes)

    def _count_objectives(self, outcomes: Sequence[Outcome]) -> int | None:
        before = self._n_objectives
        for outcome in outcomes:
            if outcome.failure is None:
                count = len(outcome.objectives) or 1
                before = before or count
                where, expected = f"outcome of trial {outcome.trial.number}", f"{before} objectives"
                remedy = "Report the same objectives for every trial."
                require(where, count, expected, holds=count == before, remedy=remedy)
        return before

    def _check(self, outcome: Outcome) -> None:
        number = outcome.trial.number
        where, remedy = f"outcome of trial {number}", "Tell the trials as `ask` returned them."
        expected = f"one of the {self.count} trials that were asked"
        require(where, f"number {number}", expected, holds=0 <= number < self.count, remedy=remedy)
        asked, told = self._trials[number].genome, outcome.trial.genome
        require(where, told, "the genome that was asked", holds=told == asked, remedy=remedy)
        numbers = (*outcome.objectives, *([] if outcome.score is None else [outcome.score]))
        remedy = "Report an evaluation without a score as a failure, with its reason."
        require(where, numbers, "finite scores", holds=all(map(math.isfinite, numbers)), remedy=remedy)


def _fingerprint(outcome: Outcome) -> int:
    scores = frozenset(outcome.items.items())
    return hash(
        (outcome.trial, outcome.failure, outcome.score, outcome.objectives, outcome.is_partial, scores)
    )


class BaseStrategy:
    """What most strategies share: axes, a history, and a batch."""

    def __init__(self, axes: Sequence[Axis], seed: int, batch: int) -> None:
        self._axes = tuple(axes)
        self._seed = seed
        self._batch = batch
        self._history = History()
        self._seen: set[Genome] = set()

    @property
    def batch(self) -> int:
        """Trials to ask for at once: a generation, if there are any."""
        return self._batch

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record how trials ended; they count from the next ask on."""
        self._history.tell(outcomes)

    def _ask_new(
        self,
        genome: Genome,
        mutate: Callable[[int, float], float],
        rng: Random,
        parents: Iterable[int] = (),
        attempts: int = genes.NOVELTY_ATTEMPTS,
    ) -> Trial:
        """Ask for a genome, mutated until it is new; parents are named without known points."""
        genome = genes.mutate_until_new(genome, self._seen, mutate, rng, attempts)
        self._seen.add(genome)
        return self._history.ask(genome, tuple(dict.fromkeys(each for each in parents if each >= 0)))
