"""One screen for all schedules: items in blocks, and who goes on after each.

    items     all, or a number: drawn by chance, the likelier the more they tell about candidates as able as
              the best so far
    rule      none: all candidates are scored on all of these; racing: see ``kingyo.screens.racing``

All candidates of a generation meet the same items in the same order (common random numbers), other
generations meet others, so that a search cannot breed for a few items.
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

RECENT = 200  # of the latest trials (at first also known models), from which difficulties are estimated
ABLE = 0.25  # of them, the share that says how able candidates are now
FLOOR = 0.02  # added to each item's information: none is never asked


@dataclass(frozen=True, kw_only=True)
class ScreenSettings:
    """How candidates are scored on fit."""

    items: int | None = field(
        default=None, metadata={"doc": "items per candidate at most; default: all of fit"}
    )
    choose: Literal["informative", "random"] | None = field(
        default=None,
        metadata={
            "doc": "which items, when not all: likelier those that tell more about the best so far, or any; "
            "default informative, beside racing random"
        },
    )
    rule: Literal["none", "racing"] = field(
        default="none",
        metadata={"doc": "who goes on to more items: all, or those not yet beaten"},
    )
    block: int = field(default=10, metadata={"doc": "racing: items between two looks"})
    alpha: float = field(
        default=0.05,
        metadata={"doc": "racing: chance that a given one of the best is dropped in a generation, at most"},
    )
    keep: float = field(
        default=0.5, metadata={"doc": "racing: share of a generation that is wanted in the end"}
    )

    @property
    def chooses(self) -> Literal["informative", "random"]:
        """``choose``, or its default: a rule that compares candidates counts on items drawn evenly."""
        return self.choose or ("informative" if self.rule == "none" else "random")


def check_settings(settings: ScreenSettings) -> None:
    """Raise unless the settings make sense, each named by its key in a run.yaml."""
    for name, value in (("items", settings.items), ("block", settings.block)):
        _require(name, value, "1 or more", holds=value is None or value >= 1)
    _require("alpha", settings.alpha, "between 0 and 1", holds=0 < settings.alpha < 1)
    _require("keep", settings.keep, "more than 0, at most 1", holds=0 < settings.keep <= 1)


def _require(name: str, value: object, expected: str, *, holds: bool) -> None:
    if not holds:
        raise KingyoError(
            f"search.screen.{name}",
            expected=expected,
            received=str(value),
            remedy=f"Change it, or leave it out; docs/run-yaml.md says what {name} does.",
        )


@dataclass(frozen=True, kw_only=True)
class Round:
    """What to score next: these trials (their keys) on these items (their columns)."""

    trials: tuple[int, ...]
    items: tuple[int, ...]


class Screen:
    """Says what to score next, from the scores so far alone.

    Args:
        settings: see ``ScreenSettings``.
        seed: for the order of the items.
        strata: columns that belong together, such as the items of one task, where there are several: each
            gets its share of the items, and of every block of them. All columns alike when empty.
    """

    def __init__(self, settings: ScreenSettings, seed: int, strata: Sequence[Sequence[int]] = ()) -> None:
        self._settings = settings
        self._seed = seed
        self._strata = strata

    def most_items(self, n_items: int) -> int:
        """The most that one candidate can cost."""
        return n_items if self._settings.items is None else min(self._settings.items, n_items)

    def rounds(self, responses: Responses, batch: Sequence[int], number: int) -> Rounds:
        """Plan the rounds of a generation.

        Args:
            responses: all scores known before it, of earlier trials and of known models.
            batch: keys of the generation.
            number: of the generation.
        """
        order = self._order(responses, number)
        return Rounds(settings=self._settings, order=tuple(order), batch=tuple(batch))

    def _order(self, responses: Responses, number: int) -> list[int]:
        """The items of a generation, the first to be asked first."""
        rng = np.random.default_rng([self._seed, number])
        n = self.most_items(responses.n_items)
        strata = self._strata or [range(responses.n_items)]
        sizes = proportional_counts([len(each) for each in strata], n)
        return interleave(
            [self._chosen(responses, each, size, rng) for each, size in zip(strata, sizes, strict=True)]
        )

    def _chosen(
        self, responses: Responses, columns: Sequence[int], n: int, rng: np.random.Generator
    ) -> list[int]:
        """So many of these items, the first to be asked first."""
        known = responses.latest(RECENT)
        if n == len(columns) or self._settings.chooses == "random" or not known:
            return [columns[place] for place in rng.permutation(len(columns))[:n]]
        found, _ = responses.fitted(known, columns)
        weights = _information(found) + FLOOR
        chosen = rng.choice(len(columns), size=n, replace=False, p=weights / weights.sum())
        return [columns[place] for place in chosen]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The rounds of one generation."""

    settings: ScreenSettings
    order: tuple[int, ...]
    batch: tuple[int, ...]

    def next(self, responses: Responses, failed: Collection[int]) -> Round | None:
        """Return what to score now, or None when the generation is done.

        Args:
            responses: now with what was scored of this generation.
            failed: keys of its trials that failed. What they scored before still counts in the rounds that
                they finished, so that the same rounds follow whenever they are planned again.
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
            alive = self._going_on(scores, alive)
            start = stop
        return None

    def _stops(self) -> list[int]:
        n, block = len(self.order), self.settings.block
        if self.settings.rule == "racing":
            return [*range(block, n, block), n]
        return [n]

    def _going_on(self, scores: NDArray[np.float64], alive: list[int]) -> list[int]:
        wanted = max(1, math.ceil(self.settings.keep * len(self.batch)))
        if self.settings.rule == "racing" and len(alive) > wanted:
            looks = max(1, len(self._stops()) - 1)  # after the last items nobody is spared any
            tests = looks * (len(self.batch) - wanted)
            return survivors(scores, alive, wanted, self.settings.alpha / tests)
        return alive


def estimate_means(
    responses: Responses, batch: Sequence[int], columns: Sequence[int] | None = None
) -> list[Estimate]:
    """Estimate what trials would score on all items, or on those of some columns, shrunk towards others."""
    known = responses.latest(RECENT)
    keys = [*known, *(key for key in batch if key not in set(known))]
    found, matrix = responses.fitted(keys, range(responses.n_items) if columns is None else columns)
    each = dict(zip(keys, estimates(found, matrix), strict=True))
    return [each[key] for key in batch]


def _information(found: Abilities) -> NDArray[np.float64]:
    """How much each item tells of candidates as able as the best: p (1 − p), averaged over them."""
    best = np.sort(found.ability)[-max(1, math.ceil(ABLE * len(found.ability))) :]
    chance = sigmoid(best[:, None] - found.difficulty[None, :])
    return (chance * (1 - chance)).mean(axis=0)
