"""Screening: draw items for each generation, and drop candidates between blocks of items.

    items     all, or a number: drawn at random, with probabilities by their information about candidates as
              able as the best so far
    rule      none: all candidates are scored on all of these; racing: candidates that are beaten are dropped

All candidates of a generation get the same items in the same order (common random numbers). Each generation
gets different items, so that a search does not overfit to a few. A screen computes what to score next from
the matrix trials × items only. It has no state, so a resumed search gets the same rounds.

**Racing.** The best K of the λ candidates of a generation should be scored on all items. After each block of
items, candidate i is dropped if at least K others beat it by an exact one-sided sign test on the items scored
so far, each test at the level α / (looks × (λ − K)). There is no look after the last items. If fewer than K
would remain, the least beaten go on. (Racing: Maron & Moore 1994; irace: López-Ibáñez et al. 2016.)

**Error rate.** Each of the true best K is dropped with probability at most α per generation (any of them with
at most K α). Proof: let i be truly the r-th best, r ≤ K, so λ − r others are not better. To be dropped, i
must lose to K others, and so to at least K − r + 1 of these. It falsely loses to at most (λ − r) × level of
them on average. By Markov's inequality it is dropped at a look with probability at most
(λ − r) / (K − r + 1) × level, which is largest for r = K: (λ − K) × level. The union bound over the looks
gives α.

"Better" means right on more of the items where the two differ. If items belong together, a group is one trial
of the sign test: the candidate with the larger sum wins it. The bound holds if items are drawn from fit with
equal probabilities, which is the default with racing. With ``choose: informative`` it holds for the
distribution of drawn items, not for all of fit. For independent items scored 0 or 1, better means a higher
mean. For graded scores and groups it need not: a candidate that loses narrowly on most and wins clearly on
the others may be dropped despite its higher mean, and "beats" may be cyclic.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.stats import Groups
from kingyo.stats.irt import Abilities, Estimate, Responses, estimates, sigmoid

Matrix = NDArray[np.float64]

RECENT = 200  # latest trials (at first also baselines) that difficulties are estimated from
ABLE = 0.25  # share of them, the most able ones, that information is averaged over
FLOOR = 0.02  # added to each item's information, so that every item can be drawn


@dataclass(frozen=True, kw_only=True)
class ScreenSettings:
    """How candidates are scored on fit.

    Attributes:
        items: most items per candidate. Default: all of fit.
        choose: which items: ``informative`` (likelier those that tell most about candidates near the best),
            ``random``, or ``in turn``. A generation shares its items. Default: ``informative``; ``random``
            with racing.
        rule: which candidates get more items: all (``none``), or with ``racing`` those not yet beaten.
        block: racing: items between two looks.
        alpha: racing: largest chance that a given one of the best is dropped in a generation.
        keep: racing: share of a generation to keep.
    """

    items: Annotated[int, Field(ge=1)] | None = None
    choose: Literal["informative", "random", "in turn"] | None = None
    rule: Literal["none", "racing"] = "none"
    block: Annotated[int, Field(ge=1)] = 10
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5

    @property
    def chooses(self) -> Literal["informative", "random", "in turn"]:
        return self.choose or ("informative" if self.rule == "none" else "random")


@dataclass(frozen=True, kw_only=True)
class Round:
    """What to score next: these trials (their keys) on these items (their columns)."""

    trials: tuple[int, ...]
    items: tuple[int, ...]


@dataclass(frozen=True)
class Screen:
    """Plans what to score next from the scores so far.

    ``strata`` are sets of columns, such as the items of each task. Each gets its share of the items, and of
    every block. ``groups`` are the columns of items that belong together.
    """

    settings: ScreenSettings
    seed: int
    strata: Sequence[Sequence[int]] = ()
    groups: Groups | None = None

    def most_items(self, n_items: int) -> int:
        """Return the largest number of items that a candidate can be scored on."""
        return n_items if self.settings.items is None else min(self.settings.items, n_items)

    def rounds(self, responses: Responses, batch: Sequence[int], number: int) -> Rounds:
        """Plan the rounds of a generation, from all scores of earlier trials and baselines."""
        order = self._order(responses, number)
        groups = self.groups
        return Rounds(settings=self.settings, order=tuple(order), batch=tuple(batch), groups=groups)

    def _order(self, responses: Responses, number: int) -> list[int]:
        n = self.most_items(responses.n_items)
        strata = self.strata or [range(responses.n_items)]
        sizes = proportional_counts([len(columns) for columns in strata], n)
        rng = np.random.default_rng([self.seed, number])
        parts = zip(strata, sizes, strict=True)
        if self.settings.chooses == "in turn":
            return interleave([self._in_turn(columns, size, number) for columns, size in parts])
        return interleave([self._chosen(responses, columns, size, rng) for columns, size in parts])

    def _in_turn(self, columns: Sequence[int], n: int, number: int) -> list[int]:
        """Return the n columns after those of the generation before, in an order drawn once."""
        order = np.random.default_rng(self.seed).permutation(len(columns))
        return [
            columns[place] for place in np.take(order, np.arange(number * n, number * n + n), mode="wrap")
        ]

    def _chosen(
        self, responses: Responses, columns: Sequence[int], n: int, rng: np.random.Generator
    ) -> list[int]:
        known = responses.latest(RECENT)
        if n == len(columns) or self.settings.chooses == "random" or not known:
            return [columns[place] for place in rng.permutation(len(columns))[:n]]
        abilities, _ = responses.fitted(known, columns)
        weights = _information(abilities) + FLOOR
        chosen = rng.choice(len(columns), size=n, replace=False, p=weights / weights.sum())
        return [columns[place] for place in chosen]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The rounds of one generation."""

    settings: ScreenSettings
    order: tuple[int, ...]
    batch: tuple[int, ...]
    groups: Groups | None = None

    def next(self, responses: Responses, failed: Collection[int]) -> Round | None:
        """Return what to score next, or None if the generation is done.

        Args:
            responses: all scores, including those of this generation.
            failed: keys of its trials that failed. Their scores still count in the rounds that they finished,
                so that planning again gives the same rounds.
        """
        alive = list(range(len(self.batch)))
        start = 0
        for stop in self._stops():
            scores = responses.matrix(self.batch)[:, list(self.order[:stop])]
            gaps = {i for i in alive if np.isnan(scores[i]).any()}
            alive = [i for i in alive if not (i in gaps and self.batch[i] in failed)]
            missing = tuple(self.batch[i] for i in alive if i in gaps)
            if missing:
                return Round(trials=missing, items=tuple(self.order[start:stop]))
            alive = self._remaining(scores, alive)
            start = stop
        return None

    def _stops(self) -> list[int]:
        n, block = len(self.order), self.settings.block
        if self.settings.rule == "racing":
            return [*range(block, n, block), n]
        return [n]

    def _remaining(self, scores: NDArray[np.float64], alive: list[int]) -> list[int]:
        keep = max(1, math.ceil(self.settings.keep * len(self.batch)))
        if self.settings.rule == "racing" and len(alive) > keep:
            looks = max(1, len(self._stops()) - 1)  # no look after the last items
            tests = looks * (len(self.batch) - keep)
            return survivors(self._by_group(scores), alive, keep, self.settings.alpha / tests)
        return alive

    def _by_group(self, scores: Matrix) -> Matrix:
        if self.groups is None:
            return scores
        numbers = self.groups.numbers[list(self.order[: scores.shape[1]])]
        return np.array([np.bincount(numbers, row) for row in scores], dtype=np.float64)


def estimate_means(
    responses: Responses,
    batch: Sequence[int],
    columns: Sequence[int] | None = None,
    groups: Groups | None = None,
) -> list[Estimate]:
    """Estimate mean scores of trials over all items, or over some columns, shrunk towards other trials.

    ``groups`` are those of all items; they widen the errors.
    """
    known = responses.latest(RECENT)
    keys = [*known, *(key for key in batch if key not in set(known))]
    chosen = range(responses.n_items) if columns is None else columns
    abilities, matrix = responses.fitted(keys, chosen)
    numbers = None if groups is None else groups.numbers[list(chosen)]
    by_key = dict(zip(keys, estimates(abilities, matrix, numbers), strict=True))
    return [by_key[key] for key in batch]


def _information(abilities: Abilities) -> NDArray[np.float64]:
    """Return the information of each item, p (1 − p), averaged over the most able trials."""
    best = np.sort(abilities.ability)[-max(1, math.ceil(ABLE * len(abilities.ability))) :]
    chance = sigmoid(best[:, None] - abilities.difficulty[None, :])
    return (chance * (1 - chance)).mean(axis=0)


def survivors(responses: Matrix, alive: Sequence[int], keep: int, level: float) -> list[int]:
    """Return the candidates, rows of ``responses``, that get more items; at least ``keep`` of ``alive``."""
    beaten = {i: sum(is_beaten(responses[i], responses[k], level) for k in alive if k != i) for i in alive}
    fewest = sorted(alive, key=lambda i: (beaten[i], i))[:keep]
    return [i for i in alive if beaten[i] < keep or i in fewest]


def is_beaten(one: NDArray[np.float64], other: NDArray[np.float64], level: float) -> bool:
    """Return whether one is right on fewer items than the other, by a one-sided sign test at this level."""
    lost, won = int((other > one).sum()), int((one > other).sum())
    return lost > won and sign_test(won, lost + won) <= level


def sign_test(successes: int, n: int) -> float:
    from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]

    return float(bdtr(successes, n, 0.5))


def proportional_counts(sizes: Sequence[int], n: int) -> list[int]:
    """Divide n items in proportion to sizes, by the largest remainders; each gets one if n suffices."""
    total = sum(sizes)
    least = 1 if n >= len(sizes) else 0
    exact = [n * size / total for size in sizes]
    counts = [min(size, max(least, int(part))) for size, part in zip(sizes, exact, strict=True)]
    while sum(counts) != n:
        step = 1 if sum(counts) < n else -1
        open_ = [i for i, size in enumerate(sizes) if (counts[i] < size if step > 0 else counts[i] > least)]
        furthest = max(open_, key=lambda i: (step * (exact[i] - counts[i]), -i))
        counts[furthest] += step
    return counts


def interleave(parts: Sequence[Sequence[int]]) -> list[int]:
    """Interleave parts evenly, each in its own order, so that every block has about its share of each."""
    placed = [
        ((position + 0.5) / len(part), kind, item)
        for kind, part in enumerate(parts)
        for position, item in enumerate(part)
    ]
    return [int(item) for _, _, item in sorted(placed, key=lambda entry: entry[:2])]
