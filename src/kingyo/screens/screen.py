"""The screen: draw items for each generation, and drop candidates between blocks of items.

    items     all, or a number: drawn at random, with probabilities by their information about candidates as
              able as the best so far
    rule      none: all candidates are scored on all of these; racing: see ``kingyo.screens.racing``

All candidates of a generation get the same items in the same order (common random numbers). Each generation
gets different items, so that a search does not overfit to a few.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.errors import KingyoError
from kingyo.irt import Abilities, Estimate, Responses, estimates, sigmoid
from kingyo.screens.racing import survivors
from kingyo.screens.strata import interleave, proportional_counts

RECENT = 200  # latest trials (at first also baselines) that difficulties are estimated from
ABLE = 0.25  # share of them, the most able ones, that information is averaged over
FLOOR = 0.02  # added to each item's information, so that every item can be drawn


@dataclass(frozen=True, kw_only=True)
class ScreenSettings:
    """How candidates are scored on fit."""

    items: int | None = field(
        default=None, metadata={"doc": "items per candidate at most; default: all of fit"}
    )
    choose: Literal["informative", "random"] | None = field(
        default=None,
        metadata={
            "doc": "which items, if not all: more likely those that are informative about the best so far, "
            "or any; default informative; random with racing"
        },
    )
    rule: Literal["none", "racing"] = field(
        default="none",
        metadata={"doc": "which candidates get more items: all, or those not yet beaten"},
    )
    block: int = field(default=10, metadata={"doc": "racing: items between two looks"})
    alpha: float = field(
        default=0.05,
        metadata={"doc": "racing: chance that a given one of the best is dropped in a generation, at most"},
    )
    keep: float = field(default=0.5, metadata={"doc": "racing: share of a generation to keep at the end"})

    @property
    def chooses(self) -> Literal["informative", "random"]:
        """Return ``choose`` or its default: racing needs items drawn with equal probabilities."""
        return self.choose or ("informative" if self.rule == "none" else "random")


def check_settings(settings: ScreenSettings) -> None:
    """Raise a KingyoError that names the key of run.yaml if a setting is out of range."""
    for name, value in (("items", settings.items), ("block", settings.block)):
        _require(name, value, "a number of at least 1", holds=value is None or value >= 1)
    _require("alpha", settings.alpha, "a number between 0 and 1", holds=0 < settings.alpha < 1)
    _require("keep", settings.keep, "a number above 0, at most 1", holds=0 < settings.keep <= 1)


def _require(name: str, value: object, expected: str, *, holds: bool) -> None:
    if not holds:
        raise KingyoError(
            f"search.screen.{name}",
            expected=expected,
            received=str(value),
            remedy=f"Change it, or leave it out; docs/run-yaml.md explains {name}.",
        )


@dataclass(frozen=True, kw_only=True)
class Round:
    """What to score next: these trials (their keys) on these items (their columns)."""

    trials: tuple[int, ...]
    items: tuple[int, ...]


class Screen:
    """Plans what to score next from the scores so far.

    Args:
        settings: settings of the screen.
        seed: for the order of the items.
        strata: groups of columns, such as the items of each task. Each gets its share of the items, and of
            every block. Empty for a single group.
    """

    def __init__(self, settings: ScreenSettings, seed: int, strata: Sequence[Sequence[int]] = ()) -> None:
        self._settings = settings
        self._seed = seed
        self._strata = strata

    def most_items(self, n_items: int) -> int:
        """Return the largest number of items that a candidate can be scored on."""
        return n_items if self._settings.items is None else min(self._settings.items, n_items)

    def rounds(self, responses: Responses, batch: Sequence[int], number: int) -> Rounds:
        """Plan the rounds of a generation.

        Args:
            responses: all scores before this generation, of earlier trials and baselines.
            batch: keys of the generation's trials.
            number: number of the generation.
        """
        order = self._order(responses, number)
        return Rounds(settings=self._settings, order=tuple(order), batch=tuple(batch))

    def _order(self, responses: Responses, number: int) -> list[int]:
        """Return the items of a generation in the order of scoring."""
        rng = np.random.default_rng([self._seed, number])
        n = self.most_items(responses.n_items)
        strata = self._strata or [range(responses.n_items)]
        sizes = proportional_counts([len(columns) for columns in strata], n)
        return interleave(
            [self._chosen(responses, columns, size, rng) for columns, size in zip(strata, sizes, strict=True)]
        )

    def _chosen(
        self, responses: Responses, columns: Sequence[int], n: int, rng: np.random.Generator
    ) -> list[int]:
        """Draw n of these columns, in the order of scoring."""
        known = responses.latest(RECENT)
        if n == len(columns) or self._settings.chooses == "random" or not known:
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
            return survivors(scores, alive, keep, self.settings.alpha / tests)
        return alive


def estimate_means(
    responses: Responses, batch: Sequence[int], columns: Sequence[int] | None = None
) -> list[Estimate]:
    """Estimate mean scores of trials over all items, or over some columns, shrunk towards other trials."""
    known = responses.latest(RECENT)
    keys = [*known, *(key for key in batch if key not in set(known))]
    abilities, matrix = responses.fitted(keys, range(responses.n_items) if columns is None else columns)
    by_key = dict(zip(keys, estimates(abilities, matrix), strict=True))
    return [by_key[key] for key in batch]


def _information(abilities: Abilities) -> NDArray[np.float64]:
    """Return the information of each item, p (1 − p), averaged over the most able trials."""
    best = np.sort(abilities.ability)[-max(1, math.ceil(ABLE * len(abilities.ability))) :]
    chance = sigmoid(best[:, None] - abilities.difficulty[None, :])
    return (chance * (1 - chance)).mean(axis=0)
