"""Train a preference model from the choices of a run, and measure it on choices that it has not seen.

It is a logistic regression on the difference of two images' features, with an L2 penalty:
P(left is preferred) = 1 / (1 + exp(−w · (left − right))). This is Bradley and Terry's model with strengths
that are linear in the features. Choices "as good" count half for each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np

from kingyo.core.io.units import counted
from kingyo.core.types import Split
from kingyo.errors import KingyoError
from kingyo.models.vision.features import (
    PreferenceModel,
    load_feature_net,
    net_path,
    net_title,
    probe_of,
    save_preference,
)
from kingyo.stats import Array, Groups, Interval
from kingyo.stats.bradley_terry import PairChoices, Places, fit_strengths, select
from kingyo.stats.groups import grouped_difference, grouped_share
from kingyo.stats.irt import sigmoid
from kingyo.store import RunStore
from kingyo.store.side_databases import StoredChoice, read_choices
from kingyo.views.rating.pairs import (
    RatedModel,
    choices_as_numbers,
    known_choices,
    prompts_of_items,
    read_models,
)
from kingyo.views.results.plain_data import plain_data

LEARNED: tuple[Split, ...] = ("fit", "validation")
"""Splits whose choices a model may learn from; test only measures."""
FEWEST_CHOICES = 20
FEWEST_PROMPTS = 5


PENALTIES = tuple(10.0 ** (each / 2) for each in range(-5, 6))
"""Penalties to choose from, per feature."""
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """The data of a preference model, and its accuracy.

    Attributes:
        prompts: number of prompts; choices on one prompt are never trained on and tested on.
        accuracy: share of held-out choices, without "as good", that the model predicts.
        better_model: the same for always choosing the model with the greater strength.
        gain: their difference on the same choices.

    Intervals allow for choices on one prompt being alike. Folds share most of their training data, which no
    interval of cross-validation allows for (Bengio and Grandvalet 2004), so they are narrow for few prompts.
    """

    features: str
    choices: int
    as_good: int
    prompts: int
    raters: int
    penalty: float
    accuracy: Interval
    better_model: Interval
    gain: Interval
    chance: float = 0.5

    def lines(self) -> Iterator[str]:
        people = counted(self.raters, "person", "people")
        yield (
            f"Trained on {counted(self.choices, 'choice')} of {people} on {counted(self.prompts, 'prompt')}, "
            f"{self.as_good} of them as good, with features of {self.features}."
        )
        yield (
            f"Held-out choices predicted: {self.accuracy.in_percent('%')}, n={self.accuracy.n}; chance 50%, "
            f"always the better model {self.better_model.in_percent('%')}; difference "
            f"{self.gain.in_percent(' points', '+')}."
        )
        if self.accuracy.low <= 0.5:
            yield "Warning: this may be no better than chance. Rate more pairs before a search uses it."


def train_preference(store: RunStore, out: Path, features: str) -> TrainingReport:
    """Train a preference model on the choices on fit and validation, and write it."""
    if out.suffix != ".safetensors" or out.is_dir():
        remedy = "Name one, such as --train preference.safetensors."
        raise KingyoError("--train", "a file that ends in .safetensors", f"{out}", remedy)
    models, choices = _choices(store)
    name = net_path(features, Path())
    media = {each.sha256: each for model in models for each in model.images.values()}
    shown = (image for each in choices for image in (each.left_image, each.right_image))
    net, images = load_feature_net(name), {image: media[image] for image in dict.fromkeys(shown)}
    vectors = net.vectors(list(images.values()))
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    rows = dict(zip(images, (vectors - mean) / scale, strict=True))
    numbers = choices_as_numbers(models, choices)
    data = ChoiceData(
        differences=np.array([rows[each.left_image] - rows[each.right_image] for each in choices]),
        scores=numbers.score,
        groups=_prompts(store, choices),
    )
    weights, penalty = fit_weights(data)
    model = PreferenceModel(features=name, mean=mean, scale=scale, weights=weights, probe=probe_of(net))
    raters = len({each.rater for each in choices})
    report = _measured(net_title(name), data, numbers, penalty, raters)
    save_preference(out, model, {"run": str(store.fact("name")), **plain_data(report)})
    return report


def _choices(store: RunStore) -> tuple[list[RatedModel], list[StoredChoice]]:
    by_recipe: dict[str, RatedModel] = {}
    for model in (each for split in LEARNED for each in read_models(store, split)):
        earlier = by_recipe.get(model.recipe)
        images = {**({} if earlier is None else earlier.images), **model.images}
        by_recipe[model.recipe] = RatedModel(name=model.name, recipe=model.recipe, images=images)
    models, stored = list(by_recipe.values()), read_choices(store.folder)
    known = known_choices(models, [each for each in stored if each.split in LEARNED])
    decided = [each for each in known if each.verdict != "tie"]
    n_prompts = len(set(_prompts(store, decided)))
    if len(decided) < FEWEST_CHOICES or n_prompts < FEWEST_PROMPTS:
        expected = (
            f"at least {FEWEST_CHOICES} choices of a side on {FEWEST_PROMPTS} prompts of fit or validation"
        )
        received = f"{counted(len(decided), 'choice')} on {counted(n_prompts, 'prompt')}"
        raise KingyoError("--train", expected, received, "Rate more pairs with `kingyo rate RUN`.")
    return models, known


def _prompts(store: RunStore, choices: Sequence[StoredChoice]) -> list[str]:
    prompts = prompts_of_items(store)
    return [prompts[each.item] for each in choices]


def _measured(
    features: str, data: ChoiceData, numbers: PairChoices, penalty: float, raters: int
) -> TrainingReport:
    is_decided = data.scores != 0.5
    own = _hits(held_out_logits(data), data.scores)[is_decided]
    logits = np.zeros(len(data.scores))  # by strengths of models that were fitted without the choice's prompt
    for train, held_out in folds(data.groups, FOLDS):
        values = fit_strengths(select(numbers, train)).values
        logits[held_out] = values[numbers.left[held_out]] - values[numbers.right[held_out]]
    simple = _hits(logits, data.scores)[is_decided]
    prompts = [group for group, decided in zip(data.groups, is_decided, strict=True) if decided]
    groups = Groups(numbers=np.unique(prompts, return_inverse=True)[1], noun="prompt")
    return TrainingReport(
        features=features,
        choices=len(data.scores),
        as_good=int((~is_decided).sum()),
        prompts=len(set(data.groups)),
        raters=raters,
        penalty=penalty,
        accuracy=grouped_share(own, groups),
        better_model=grouped_share(simple, groups),
        gain=grouped_difference(own - simple, groups)[0],
    )


def _hits(logits: Array, scores: Array) -> Array:
    """Return 1 where a logit has the side that was chosen, 0.5 where it has none."""
    return np.where(logits == 0, 0.5, (logits > 0) == (scores > 0.5))


@dataclass(frozen=True, kw_only=True)
class ChoiceData:
    """Choices as numbers: features of the left image minus those of the right one, [choices, features].

    Scores are 1 for the left image, 0 for the right one, 0.5 for "as good". Choices of one group are never
    on both sides of a split.
    """

    differences: Array
    scores: Array
    groups: Sequence[str]

    def select(self, kept: Places) -> ChoiceData:
        groups = [self.groups[int(place)] for place in kept]
        return ChoiceData(differences=self.differences[kept], scores=self.scores[kept], groups=groups)


def fit_weights(data: ChoiceData) -> tuple[Array, float]:
    """Return the weights, [features], and the penalty that cross-validation chose."""
    penalty = choose_penalty(data)
    return _minimise(data, penalty), penalty


def held_out_logits(data: ChoiceData) -> Array:
    """Return the logit of each choice by weights and a penalty that were chosen without its group."""
    logits = np.zeros(len(data.scores))
    for train, held_out in folds(data.groups, FOLDS):
        own = data.select(train)
        logits[held_out] = data.differences[held_out] @ _minimise(own, choose_penalty(own))
    return logits


def choose_penalty(data: ChoiceData) -> float:
    """Return the penalty with the smallest loss in cross-validation; ties go to the larger one."""
    width = data.differences.shape[1]
    splits = list(folds(data.groups, FOLDS - 1))

    def loss(penalty: float) -> float:
        total = 0.0
        for train, held_out in splits:
            weights = _minimise(data.select(train), penalty)
            total += _loss(data.differences[held_out] @ weights, data.scores[held_out])
        return total

    return min((width * each for each in reversed(PENALTIES)), key=loss)


def folds(groups: Sequence[str], n: int) -> Iterator[tuple[Places, Places]]:
    """Yield places to train on and places to test on; groups stay together, in an order by their hash."""
    order = sorted(set(groups), key=lambda each: sha256(each.encode()).hexdigest())
    fold_of = {group: place % n for place, group in enumerate(order)}
    own = np.array([fold_of[group] for group in groups])
    for fold in range(n):
        train, held_out = np.flatnonzero(own != fold), np.flatnonzero(own == fold)
        if len(train) and len(held_out):
            yield train, held_out


def _minimise(data: ChoiceData, penalty: float) -> Array:
    """Return the weights with the smallest penalised loss: [features]."""
    import scipy.optimize  # pyright: ignore[reportMissingTypeStubs]

    rows, scores = data.differences, data.scores

    def objective(weights: Array) -> tuple[float, Array]:
        logits = rows @ weights
        slope = rows.T @ (sigmoid(logits) - scores)
        value = _loss(logits, scores) + penalty / 2 * float(weights @ weights)
        return value, slope + penalty * weights

    start = np.zeros(rows.shape[1])
    done = cast("Any", scipy.optimize).minimize(objective, start, jac=True, method="L-BFGS-B")
    return cast("Array", done.x)


def _loss(logits: Array, scores: Array) -> float:
    return float((np.logaddexp(0, logits) - scores * logits).sum())
