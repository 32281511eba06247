"""Screening: which items of fit the candidates of a generation are scored on.

All candidates of a generation get the same items (common random numbers). Each generation gets different
items, so that a search does not overfit to a few. A screen has no state: it chooses from the matrix
trials × items only, so a resumed search gets the same items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.stats.irt import Abilities, Responses, expected_means, sigmoid

RECENT = 200  # latest trials (at first also baselines) that difficulties are estimated from
ABLE = 0.25  # share of them, the most able ones, that information is averaged over
FLOOR = 0.02  # added to each item's information, so that every item can be drawn


@dataclass(frozen=True, kw_only=True)
class ScreenSettings:
    """How candidates are scored on fit.

    Attributes:
        items: most items per candidate. Default: all of fit.
        choose: which items: ``informative`` (likelier those that tell most about candidates near the best),
            ``random``, or ``in turn``. A generation shares its items. Default: ``informative``.
    """

    items: Annotated[int, Field(ge=1)] | None = None
    choose: Literal["informative", "random", "in turn"] = "informative"


@dataclass(frozen=True)
class Screen:
    """Chooses the items of each generation.

    ``strata`` are sets of columns, such as the items of each task; each gets its share of the items.
    """

    settings: ScreenSettings
    seed: int
    strata: Sequence[Sequence[int]] = ()

    def most_items(self, n_items: int) -> int:
        return n_items if self.settings.items is None else min(self.settings.items, n_items)

    def columns(self, responses: Responses, number: int) -> list[int]:
        """Return the items of a generation as columns, from all scores of earlier trials and baselines."""
        n = self.most_items(responses.n_items)
        strata = self.strata or [range(responses.n_items)]
        sizes = proportional_counts([len(columns) for columns in strata], n)
        rng = np.random.default_rng([self.seed, number])
        parts = zip(strata, sizes, strict=True)
        if self.settings.choose == "in turn":
            return interleave([self._in_turn(columns, size, number) for columns, size in parts])
        return interleave([self._chosen(responses, columns, size, rng) for columns, size in parts])

    def _in_turn(self, columns: Sequence[int], n: int, number: int) -> list[int]:
        order = np.random.default_rng(self.seed).permutation(len(columns))
        return [
            columns[place] for place in np.take(order, np.arange(number * n, number * n + n), mode="wrap")
        ]

    def _chosen(
        self, responses: Responses, columns: Sequence[int], n: int, rng: np.random.Generator
    ) -> list[int]:
        known = responses.latest(RECENT)
        if n == len(columns) or self.settings.choose == "random" or not known:
            return [columns[place] for place in rng.permutation(len(columns))[:n]]
        abilities, _ = responses.fitted(known, columns)
        weights = _information(abilities) + FLOOR
        chosen = rng.choice(len(columns), size=n, replace=False, p=weights / weights.sum())
        return [columns[place] for place in chosen]


def estimate_means(responses: Responses, batch: Sequence[int], columns: Sequence[int]) -> list[float]:
    """Estimate mean scores of trials over some columns, shrunk towards other trials."""
    known = responses.latest(RECENT)
    keys = [*known, *(key for key in batch if key not in set(known))]
    by_key = dict(zip(keys, expected_means(*responses.fitted(keys, columns)).tolist(), strict=True))
    return [by_key[key] for key in batch]


def _information(abilities: Abilities) -> NDArray[np.float64]:
    """Return the information of each item, p (1 − p), averaged over the most able trials."""
    best = np.sort(abilities.ability)[-max(1, math.ceil(ABLE * len(abilities.ability))) :]
    chance = sigmoid(best[:, None] - abilities.difficulty[None, :])
    return (chance * (1 - chance)).mean(axis=0)


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
