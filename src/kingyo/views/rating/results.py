"""Summarise choices: each model's share of wins, its strength, and its chance against the best parent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kingyo.core.io.units import counted, percent
from kingyo.core.types import SPLITS, Split
from kingyo.stats import Interval, interval, interval_json
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
        over_parent: probability that a person prefers it to the best parent; None for that parent.
    """

    name: str
    n: int
    wins: Interval | None = None
    strength: Interval | None = None
    over_parent: Interval | None = None

    def to_json(self) -> dict[str, object]:
        return {
            "model": self.name,
            "n": self.n,
            "wins": interval_json(self.wins),
            "strength": interval_json(self.strength),
            "over_best_parent": interval_json(self.over_parent),
        }


@dataclass(frozen=True, kw_only=True)
class SplitRating:
    """The choices on one split."""

    split: Split
    models: tuple[ModelRating, ...]
    best_parent: str | None
    n: int
    prompts: int
    ties: int
    skipped: int
    outdated: int
    raters: Mapping[str, int]
    left: Interval | None

    def to_json(self) -> dict[str, object]:
        return {
            "n": self.n,
            "prompts": self.prompts,
            "as_good": self.ties,
            "skipped": self.skipped,
            "outdated": self.outdated,
            "raters": dict(self.raters),
            "left": interval_json(self.left),
            "best_parent": self.best_parent,
            "models": [each.to_json() for each in self.models],
        }


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
    n, decided = len(numbers.score), numbers.score != 0.5
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
        ties=int((~decided).sum()),
        skipped=skipped,
        outdated=len(choices) - skipped - n,
        raters=Counter(each.rater for each in choices if each.verdict != "skip"),
        left=interval(numbers.score[decided].tolist(), numbers.groups(decided)) if decided.any() else None,
    )


def _rating(name: str, place: int, strengths: Strengths, parent: int | None) -> ModelRating:
    choices = strengths.choices
    own = choices.of(place)
    if not own.any():
        return ModelRating(name=name, n=0)
    won = np.where(choices.left == place, choices.score, 1 - choices.score)[own]
    is_compared = parent is not None and parent != place and choices.of(parent).any()
    return ModelRating(
        name=name,
        n=len(won),
        wins=interval(won.tolist(), choices.groups(own)),
        strength=strengths.strength(place),
        over_parent=strengths.win_probability(place, parent) if is_compared and parent is not None else None,
    )


Cell = str | tuple[str, str]
"""A text, or a number and what belongs to it, such as its interval."""
Row = tuple[Cell, ...]


def rating_title(rating: SplitRating) -> str:
    return f"Choices of people on {rating.split}"


def rating_table(rating: SplitRating) -> tuple[Row, list[Row]]:
    """Return head and rows: per model its pairs, wins, strength, and how often it beats the best parent."""
    rival = () if rating.best_parent is None else (f"preferred to {rating.best_parent}",)
    head: Row = ("model", "pairs", "wins", "strength (logits)", *rival)
    rows: list[Row] = []
    for model in rating.models:
        n_prompts = 0 if model.wins is None else model.wins.n_groups
        pairs = f"{model.n:,}"
        strength = _cell(model.strength, lambda value: f"{value:+.2f}")
        row: Row = (
            model.name,
            (pairs, f"on {counted(n_prompts, 'prompt')}") if n_prompts else pairs,
            _cell(model.wins),
            strength,
            _cell(model.over_parent),
        )
        rows.append(row[: len(head)])
    return head, rows


def rating_note(rating: SplitRating) -> str:
    """Return the numbers of choices by kind and by person."""
    people = counted(len(rating.raters), "person", "people")
    parts = [
        f"{counted(rating.n, 'choice')} of {people} on {counted(rating.prompts, 'prompt')} of {rating.split}",
        f"{rating.ties} of them “as good”",
        f"{counted(rating.skipped, 'pair')} skipped",
    ]
    if rating.outdated:
        parts.append(f"{rating.outdated} left out, because the run no longer has their pictures")
    if rating.left is not None:
        parts.append(f"the left picture was chosen in {rating.left.in_percent('%')}")
    names = ", ".join(f"{name} {n}" for name, n in rating.raters.items())
    return f"{', '.join(parts)}. Choices by person: {names or 'none'}."


def _cell(value: Interval | None, text: Callable[[float], str] = percent) -> Cell:
    if value is None:
        return "–"
    score, low, high = (text(each).replace("-", "−") for each in (value.score, value.low, value.high))
    return score, f"[{low.rstrip('%')},\N{NO-BREAK SPACE}{high.rstrip('%')}]"
