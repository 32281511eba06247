"""The models of a run whose images people compare, and the next pair to show: balanced and informative."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from kingyo.core.types import Media, Split
from kingyo.errors import KingyoError
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.stats.bradley_terry import PairChoices, Strengths, fit_strengths
from kingyo.store import RunStore, StoredTrial
from kingyo.store.side_databases import StoredChoice, Verdict, pair_name
from kingyo.views.results.trials import row_title

SCORES = {"left": 1.0, "right": 0.0, "tie": 0.5}
"""The score of the left image; a skipped pair has none."""
_BALANCE = 1
"""Largest difference in pairs so far between the first model, which has the fewest, and its partner."""


@dataclass(frozen=True, kw_only=True)
class RatedModel:
    """A model with images."""

    name: str
    recipe: str
    images: Mapping[str, Media]


def read_models(store: RunStore, split: Split) -> tuple[RatedModel, ...]:
    """Return the models of a run with images on a split; models with the same recipe count once.

    These are the winner, the baselines, the winners of the controls, and the finalists of the main search. A
    run stores images of validation and test, and of baselines on fit.
    """
    models: dict[str, RatedModel] = {}
    for name, trial in _named_trials(store, split):
        if trial.recipe_hash not in models:
            evaluation = store.evaluation(trial.id, split)
            scores = () if evaluation is None else evaluation.scores
            images = {score.item: score.media for score in scores if score.media is not None}
            if images:
                models[trial.recipe_hash] = RatedModel(name=name, recipe=trial.recipe_hash, images=images)
    return tuple(models.values())


def prompts_of_items(store: RunStore) -> dict[str, str]:
    """Return id of an item -> its prompt, or its group if it belongs to one: choices on one are alike."""
    return {item.id: item.group or item.prompt for items in store.items().values() for item in items}


def require_models(store: RunStore, split: Split) -> tuple[RatedModel, ...]:
    """Return the models of ``read_models``; two of them must have images of the same item."""
    models = read_models(store, split)
    items = [item for model in models for item in model.images]
    if len(set(items)) == len(items):
        other = "test" if split == "validation" else "validation"
        remedy = f"Wait, or continue it with `kingyo resume {shlex.quote(str(store.folder))}`."
        if store.status() == "finished":
            remedy = f"Try --split {other}, or rate a run whose task draws images (`kind: draw`)."
        received = f"{len(models)} with images on {split} (status: {store.status()})"
        raise KingyoError(f"--split {split}", "a run with images of two models", received, remedy)
    return models


def _named_trials(store: RunStore, split: Split) -> Iterator[tuple[str, StoredTrial]]:
    searches = [name for name in store.searches() if name != BASELINES]
    winners = {name: trial for name in searches if (trial := store.winner(name)) is not None}
    if MAIN in winners:
        yield "bred", winners[MAIN]
    for trial in store.trials(BASELINES):
        yield str(trial.name), trial
    for name, trial in winners.items():
        yield row_title(name), trial
    for row in store.summaries(split) if split != "fit" else ():
        if row.search == MAIN:
            trial = store.trial(row.trial)
            yield f"trial {trial.asked.number}", trial


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images of one item, with their sides."""

    item: str
    left: RatedModel
    right: RatedModel

    @property
    def name(self) -> str:
        one, other = self.images.values()
        return pair_name(self.item, one.sha256, other.sha256)

    @property
    def images(self) -> dict[str, Media]:
        """Return side -> image."""
        return {"left": self.left.images[self.item], "right": self.right.images[self.item]}

    def judged(self, verdict: Verdict, rater: str, split: Split, seconds: float) -> StoredChoice:
        """Return what is stored of a choice."""
        return StoredChoice(
            rater=rater,
            split=split,
            item=self.item,
            left_model=self.left.recipe,
            right_model=self.right.recipe,
            left_image=self.images["left"].sha256,
            right_image=self.images["right"].sha256,
            verdict=verdict,
            seconds=seconds,
        )


def known_choices(models: Sequence[RatedModel], choices: Sequence[StoredChoice]) -> list[StoredChoice]:
    """Return the choices between images that these models have; skipped pairs are left out."""
    places = {model.recipe: place for place, model in enumerate(models)}
    return [each for each in choices if each.verdict in SCORES and _is_known(each, models, places)]


def choices_as_numbers(
    models: Sequence[RatedModel], choices: Sequence[StoredChoice], prompts: Mapping[str, str] = {}
) -> PairChoices:
    """Return the known choices with numbers for models and prompts, see ``prompts_of_items``."""
    places = {model.recipe: place for place, model in enumerate(models)}
    known = known_choices(models, choices)
    names = [prompts.get(each.item, each.item) for each in known]
    return PairChoices(
        left=np.array([places[each.left_model] for each in known], dtype=np.intp),
        right=np.array([places[each.right_model] for each in known], dtype=np.intp),
        score=np.array([SCORES[each.verdict] for each in known], dtype=np.float64),
        prompt=np.unique(names, return_inverse=True)[1],
        n_models=len(models),
    )


def _is_known(choice: StoredChoice, models: Sequence[RatedModel], places: dict[str, int]) -> bool:
    sides = ((choice.left_model, choice.left_image), (choice.right_model, choice.right_image))
    for recipe, image in sides:
        media = models[places[recipe]].images.get(choice.item) if recipe in places else None
        if media is None or media.sha256 != image:
            return False
    return True


@dataclass(kw_only=True)
class PairChooser:
    """Chooses pairs for one person. The next pair depends on the stored choices only."""

    models: Sequence[RatedModel]
    rater: str
    _items: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._items = tuple(dict.fromkeys(item for model in self.models for item in model.images))

    def next(self, choices: Sequence[StoredChoice]) -> Pair | None:
        """Return the next pair, or None if the person has judged all.

        The first model is the one with the fewest pairs so far. Its partner has at most ``_BALANCE`` pairs
        more, and is the one with which a choice is most informative; see ``Strengths.information``.
        """
        shown = Counter(recipe for each in choices for recipe in (each.left_model, each.right_model))
        strengths = fit_strengths(choices_as_numbers(self.models, choices))
        judged = {each.pair for each in choices if each.rater == self.rater}
        used = Counter(each.item for each in choices)
        for one, other in self._partners(shown, strengths, len(choices)):
            item = self._item(one, other, judged, used)
            if item is not None:
                models = (self.models[one], self.models[other])
                first, second = sorted(models, key=lambda model: model.images[item].sha256)
                pair = Pair(item=item, left=first, right=second)
                is_swapped = int(self._hash(pair.name)[:8], 16) % 2
                return Pair(item=item, left=second, right=first) if is_swapped else pair
        return None

    def _partners(self, shown: Counter[str], strengths: Strengths, n: int) -> Iterator[tuple[int, int]]:
        places = range(len(self.models))
        counts = [shown[model.recipe] for model in self.models]
        order = sorted(places, key=lambda place: (counts[place], self._hash(n, place)))
        for one in order:
            most = counts[one] + _BALANCE

            def rank(other: int, one: int = one, most: int = most) -> tuple[int, float, str]:
                information = round(strengths.information(one, other), 9)
                return max(counts[other] - most, 0), -information, self._hash(n, one, other)

            yield from ((one, other) for other in sorted(places, key=rank) if other != one)

    def _item(self, one: int, other: int, judged: set[str], used: Counter[str]) -> str | None:
        left, right = self.models[one].images, self.models[other].images
        shared = [item for item in self._items if item in left and item in right]
        free = [
            item
            for item in shared
            if left[item] != right[item]
            and pair_name(item, left[item].sha256, right[item].sha256) not in judged
        ]
        return min(free, key=lambda item: (used[item], self._hash(item)), default=None)

    def restore(self, choice: StoredChoice) -> Pair | None:
        """Return the pair of a choice as it was shown; None if the run has other images now."""
        places = {model.recipe: place for place, model in enumerate(self.models)}
        if not _is_known(choice, self.models, places):
            return None
        left, right = (self.models[places[each]] for each in (choice.left_model, choice.right_model))
        return Pair(item=choice.item, left=left, right=right)

    def _hash(self, *values: object) -> str:
        return sha256(repr((self.rater, *values)).encode()).hexdigest()
