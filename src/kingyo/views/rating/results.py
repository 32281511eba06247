"""Summarise choices: each model's share of wins, its strength, and its chance against the best parent."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kingyo.core.types import SPLITS, Split
from kingyo.stats import Interval, interval
from kingyo.stats.bradley_terry import Strengths, fit_strengths
from kingyo.store import RunStore
from kingyo.store.side_databases import StoredChoice, read_choices
from kingyo.views.rating.pairs import RatedModel, choices_as_numbers, prompts_of_items, read_models
from kingyo.views.results.summary import RunSummary


@dataclass(frozen=True, kw_only=True)
class ModelRating:
    """The choices between one model and others, with 95% intervals.

    Attributes:
        wins: share of its pairs that it won; "as good" counts half. It depends on the other models.
        strength: Bradley–Terry strength in logits, compared with the mean of all models.
        over_best_parent: probability that a person prefers it to the best parent; None for that parent.
    """

    model: str
    n: int
    wins: Interval | None = None
    strength: Interval | None = None
    over_best_parent: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class SplitRating:
    """The choices on one split."""

    split: Split
    models: tuple[ModelRating, ...]
    best_parent: str | None
    n: int
    prompts: int
    as_good: int
    skipped: int
    outdated: int
    raters: Mapping[str, int]


def read_ratings(store: RunStore, summary: RunSummary) -> tuple[SplitRating, ...]:
    """Return the ratings of each split with choices; empty without any."""
    choices = read_choices(store.folder)
    rated: list[Split] = [split for split in SPLITS if any(each.split == split for each in choices)]
    parent = summary.best_parent()
    recipe = None if parent is None else parent.trial.recipe_hash
    prompts = prompts_of_items(store) if rated else {}
    return tuple(
        rate_models(
            read_models(store, split), [each for each in choices if each.split == split], recipe, prompts
        )
        for split in rated
    )


def rate_models(
    models: Sequence[RatedModel],
    choices: Sequence[StoredChoice],
    parent: str | None,
    prompts: Mapping[str, str],
) -> SplitRating:
    """Rate models by the choices on one split, at least one."""
    numbers = choices_as_numbers(models, choices, prompts)
    n = len(numbers.score)
    skipped = sum(each.verdict == "skip" for each in choices)
    place = next((i for i, model in enumerate(models) if model.recipe == parent), None)
    strengths = fit_strengths(numbers)
    ratings = [_rating(model.name, i, strengths, place) for i, model in enumerate(models)]
    return SplitRating(
        split=choices[0].split,
        models=tuple(sorted(ratings, key=lambda each: -each.strength.score if each.strength else math.inf)),
        best_parent=None if place is None else models[place].name,
        n=n,
        prompts=len(set(numbers.prompt)),
        as_good=int((numbers.score == 0.5).sum()),
        skipped=skipped,
        outdated=len(choices) - skipped - n,
        raters=Counter(each.rater for each in choices if each.verdict != "skip"),
    )


def _rating(name: str, place: int, strengths: Strengths, parent: int | None) -> ModelRating:
    choices = strengths.choices
    own = choices.of(place)
    if not own.any():
        return ModelRating(model=name, n=0)
    won = np.where(choices.left == place, choices.score, 1 - choices.score)[own]
    is_compared = parent is not None and parent != place and choices.of(parent).any()
    return ModelRating(
        model=name,
        n=len(won),
        wins=interval(won.tolist(), choices.groups(own)),
        strength=strengths.strength(place),
        over_best_parent=strengths.win_probability(place, parent)
        if is_compared and parent is not None
        else None,
    )
