"""Keep the log of one search in memory: the bookkeeping that strategies share.

It numbers trials, refuses outcomes that cannot be true, ignores repeated ones, and hands outcomes on in the
order of their numbers, however they came. It knows no algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kingyo.errors import KingyoError
from kingyo.strategies.checks import require
from kingyo.types import Genome, Outcome, Trial


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The outcome of a trial as strategies see it.

    Attributes:
        number, genome: of the trial.
        score: what a search for one objective maximises; None for a failure.
        objectives: one number per objective; the score alone where there is one, none for a failure.
        items: the score on each item that was scored, by the item's name, sorted by it.
        is_partial: only some of the items were scored, so score and objectives are estimates.
    """

    number: int
    genome: Genome
    score: float | None
    objectives: tuple[float, ...] = ()
    items: Mapping[str, float] = field(default_factory=dict[str, float])
    is_partial: bool = False

    @staticmethod
    def of(outcome: Outcome) -> Observation:
        """Leave out what no strategy needs: the answers."""
        score = outcome.score
        return Observation(
            number=outcome.trial.number,
            genome=outcome.trial.genome,
            score=score,
            objectives=outcome.objectives or (() if score is None else (score,)),
            items={each.item: each.score for each in sorted(outcome.scores, key=lambda each: each.item)},
            is_partial=outcome.is_partial,
        )


class History:
    """The log of one search, in memory."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        # A hash instead of the outcome: the answers of all items of all trials need not stay in memory.
        self._fingerprints: dict[int, int] = {}
        self._fresh: dict[int, Observation] = {}

    @property
    def count(self) -> int:
        """How many trials have been asked: the number of the next one."""
        return len(self._trials)

    def ask(self, genome: Genome, parents: tuple[int, ...] = ()) -> Trial:
        """Number a genome and remember it."""
        trial = Trial(number=self.count, genome=genome, parents=parents)
        self._trials.append(trial)
        return trial

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes that are new; all of them or, after an error, none.

        Raises:
            KingyoError: a trial that was never asked, another genome than was asked, a score that is not
                finite, or a second outcome that differs from the first.
        """
        new: dict[int, tuple[int, Observation]] = {}
        for outcome in outcomes:
            self._check(outcome)
            number, fingerprint = outcome.trial.number, hash(outcome)
            known = new[number][0] if number in new else self._fingerprints.get(number)
            if known is None:
                new[number] = (fingerprint, Observation.of(outcome))
            elif known != fingerprint:
                raise KingyoError(
                    f"outcome of trial {number}",
                    expected="the outcome that was told before",
                    received="a different one",
                    remedy="A trial ends once; ask for a new trial to evaluate its genome again.",
                )
        for number, (fingerprint, observation) in new.items():
            self._fingerprints[number] = fingerprint
            self._fresh[number] = observation

    def take(self, n: int, since: int = 0) -> list[Observation]:
        """Hand over the n lowest-numbered outcomes not yet taken, or none while fewer are in.

        Outcomes of trials before number ``since`` are dropped. Call it from ``ask``, not from ``tell``: then
        the order of the tells in between cannot matter.
        """
        self._fresh = {number: observation for number, observation in self._fresh.items() if number >= since}
        if len(self._fresh) < n:
            return []
        return [self._fresh.pop(number) for number in sorted(self._fresh)[:n]]

    def take_all(self) -> list[Observation]:
        """Hand over all outcomes not yet taken, in the order of their numbers. Call it from ``ask``."""
        return self.take(len(self._fresh)) if self._fresh else []

    def _check(self, outcome: Outcome) -> None:
        number = outcome.trial.number
        where = f"outcome of trial {number}"
        if not 0 <= number < self.count:
            raise KingyoError(
                where,
                expected=f"one of the {self.count} trials asked",
                received=f"number {number}",
                remedy="Tell only trials that `ask` returned.",
            )
        asked = self._trials[number].genome
        if outcome.trial.genome != asked:
            raise KingyoError(
                where,
                expected=f"the genome {asked}",
                received=str(outcome.trial.genome),
                remedy="Tell the trial as `ask` returned it.",
            )
        numbers = (*outcome.objectives, *([] if outcome.score is None else [outcome.score]))
        if not all(map(math.isfinite, numbers)):
            raise KingyoError(
                where,
                expected="finite scores",
                received=", ".join(map(str, numbers)),
                remedy="Tell an evaluation without a score as a failure, with its reason.",
            )


def foreign_observations(outcomes: Sequence[Outcome], n_axes: int) -> list[Observation]:
    """Return what others measured, known points or migrants, by number and without failures.

    Raises:
        KingyoError: the number of a trial that the strategy could have asked for, or another number of genes.
    """
    for outcome in outcomes:
        number, genes = outcome.trial.number, len(outcome.trial.genome)
        where, remedy = f"known point {number}", "Give points from elsewhere numbers below 0."
        require(where, number, "a number below 0", holds=number < 0, remedy=remedy)
        remedy = "Give points of the same space."
        require(where, genes, f"{n_axes} genes", holds=genes == n_axes, remedy=remedy)
    observations = sorted(map(Observation.of, outcomes), key=lambda each: -each.number)
    return [each for each in observations if each.score is not None]


def check_count(n: int) -> None:
    """Raise unless n, the number of trials to ask for, is 0 or more."""
    if n < 0:
        raise KingyoError(
            "ask",
            expected="a count of 0 or more",
            received=str(n),
            remedy="Stop asking when the budget is spent.",
        )


def count_objectives(outcomes: Sequence[Outcome], before: int | None) -> int | None:
    """How many objectives outcomes have, given how many they had before; None while all failed.

    Raises:
        KingyoError: an outcome has another number than those before it.
    """
    for outcome in outcomes:
        if outcome.failure is not None:
            continue
        count = len(outcome.objectives) or 1
        before = before or count
        require(
            f"outcome of trial {outcome.trial.number}",
            count,
            f"{before} objectives, as those before it",
            holds=count == before,
            remedy="Measure every trial of a search by the same objectives.",
        )
    return before
