"""The models of a run whose pictures people can compare."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, MAIN
from kingyo.results.trials import row_title
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Media, Split


@dataclass(frozen=True, kw_only=True)
class RatedModel:
    """A model with pictures.

    Attributes:
        name: its name in tables: ``bred``, ``trial 12``, the name of a baseline, ``random, same cost``.
        recipe: the hash of its recipe.
        pictures: id of an item -> its picture.
    """

    name: str
    recipe: str
    pictures: Mapping[str, Media]


def read_models(store: RunStore, split: Split) -> tuple[RatedModel, ...]:
    """Return the models of a run with pictures on a split; models with the same recipe count once.

    These are the winner, the baselines, the winners of the controls, and the finalists of the main search. A
    run stores pictures of validation and test, and of baselines on fit.
    """
    models: dict[str, RatedModel] = {}
    for name, trial in _named_trials(store, split):
        if trial.recipe_hash not in models:
            pictures = _pictures(store, trial, split)
            if pictures:
                models[trial.recipe_hash] = RatedModel(name=name, recipe=trial.recipe_hash, pictures=pictures)
    return tuple(models.values())


def prompts_of_items(store: RunStore) -> dict[str, str]:
    """Return id of an item -> its prompt, or its group if it belongs to one: choices on one are alike."""
    return {item.id: item.group or item.prompt for items in store.items().values() for item in items}


def require_models(store: RunStore, split: Split) -> tuple[RatedModel, ...]:
    """Return the models of ``read_models``.

    Raises:
        KingyoError: no two of them have pictures of the same item.
    """
    models = read_models(store, split)
    items = [item for model in models for item in model.pictures]
    if len(set(items)) == len(items):
        raise KingyoError(
            f"--split {split}",
            expected="a run with pictures of two models",
            received=f"{len(models)} with pictures on {split} (status: {store.status()})",
            remedy=_remedy(store, split),
        )
    return models


def _remedy(store: RunStore, split: Split) -> str:
    if store.status() != "finished":
        return f"Wait, or continue it with `kingyo resume {shlex.quote(str(store.folder))}`."
    other = "validation" if split != "validation" else "test"
    return f"Try --split {other}, or rate a run whose task draws pictures (`kind: draw`)."


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


def _pictures(store: RunStore, trial: StoredTrial, split: Split) -> dict[str, Media]:
    evaluation = store.evaluation(trial.id, split)
    scores = () if evaluation is None else evaluation.scores
    return {score.item: score.media for score in scores if score.media is not None}
