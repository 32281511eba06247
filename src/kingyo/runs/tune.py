"""Tuning: LoRAs on the bred model, and the same training on the best parent, after all other searches.

Candidate 0 of each is the model itself, and wins ties. The others differ in learning rate. Targets, number of
steps and rates are the same for both, so what differs is where training starts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import MergeOptions, Sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from kingyo.runs.adapters import (
    BATCH_SIZE,
    BRED,
    NOTHING_TO_LEARN,
    AdapterSetting,
    AdapterSpace,
    AdapterTrainer,
    Training,
    open_trained,
    read_training,
    rounded,
    run_from,
    stamped,
    training_fact,
    usual_rate,
)
from kingyo.runs.config import TUNED, TUNED_PARENT
from kingyo.runs.keep import open_kept, score_kept
from kingyo.runs.learning import PASSES as PASS_COST
from kingyo.runs.searches import completed, require_adapters, training_search
from kingyo.runs.setup import Setup
from kingyo.search.evolution import MAIN, Event, Search
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.space import parent_recipe
from kingyo.store import RunStore, StoredTrial
from kingyo.tasks import require_teaching

RELATIVE_RATES = (0.3, 0.1)
"""Learning rates relative to ``usual_rate``, which spoils a bred model where there are few items."""
MANY_ITEMS = 100
"""Fit items from which on that rate is tried, too."""
PASSES = 10
"""Passes over the examples."""
REMEDY = "Leave tuning out."


def require_tunable(run: Setup) -> None:
    """Check that a run has a bred model that a LoRA can be trained on, and one number to choose by."""
    config = run.config
    if config.objectives:
        raise KingyoError(
            "tune", "a run with one objective", f"the objectives {', '.join(config.objectives)}", REMEDY
        )
    require_adapters("tune", run, REMEDY, merges_weights=config.space == "parameters")
    if config.tune is not None and config.tune.keep is not None:
        open_kept(run, config.tune.keep)


def is_tunable(run: Setup) -> bool:
    with suppress(KingyoError):
        require_tunable(run)
        require_teaching(run.task, "tune", REMEDY)
        return True
    return False


def require_lessons(run: Setup) -> None:
    """Check that a finished run knows right answers to fit items."""
    require_teaching(run.task, "tune", REMEDY)
    store = run.begun
    trainer, parent = _trainer(run, TUNED), next(iter(run.models.named))
    if not trainer.examples(store, trainer.start_of(parent), "found", trainer.last_trial(store)):
        raise KingyoError("tune", "right answers to learn from", NOTHING_TO_LEARN, REMEDY)


def tuned_searches(run: Setup, merge: Recipe, open_sources: Callable[[], Sources]) -> list[Search]:
    """Return the training on the bred model, and that on the best parent.

    Args:
        run: a run with ``tune``.
        merge: recipe of the winner of the main search.
        open_sources: opens the models of recipes.
    """
    require_tunable(run)
    n = 1 + len(relative_rates(len(run.items["fit"])))
    unprepared = parent_recipe(run.models.skeleton.reference, run.config.merge.dtype)
    spaces = (
        BredSpace(trainer=_trainer(run, TUNED), n=n, unprepared=merge, open_sources=open_sources),
        ParentSpace(trainer=_trainer(run, TUNED_PARENT), n=n, unprepared=unprepared),
    )
    searches = (replace(training_search(run, space), like=(MAIN,)) for space in spaces)
    return [completed(search, run, run.settings.controls) for search in searches]


def relative_rates(n_fit: int) -> tuple[float, ...]:
    """Return the learning rates to try, relative to the usual one."""
    return (*RELATIVE_RATES, *((1.0,) if n_fit >= MANY_ITEMS else ()))


def n_loras(n_fit: int) -> int:
    return 2 * len(relative_rates(n_fit))


def steps_of(n_examples: int) -> int:
    return max(1, PASSES * -(-n_examples // BATCH_SIZE))


def expected_seconds(n_fit: int, item_seconds: float, step_seconds: float | None = None) -> float:
    """Return the time of tuning if each fit item has one right answer.

    Args:
        n_fit: number of fit items.
        item_seconds: time of an evaluation of an item.
        step_seconds: time of a step of training; None if no LoRA was trained before.
    """
    step = BATCH_SIZE * PASS_COST * item_seconds if step_seconds is None else step_seconds
    return n_loras(n_fit) * steps_of(n_fit) * step


def _trainer(run: Setup, name: str) -> AdapterTrainer:
    return AdapterTrainer(name=name, argument="tune", run=run, taught_by=(MAIN,))


@dataclass(kw_only=True)
class BredSpace(AdapterSpace):
    """The bred model, and LoRAs on it."""

    open_sources: Callable[[], Sources]

    def prepare(self, store: RunStore, notify: Callable[[Event], None]) -> None:
        """Write the bred model, train all adapters that are missing, and score what is to be kept."""
        trainer, path = self.trainer, store.folder / BRED
        if read_training(store, trainer.name) is None or not path.is_dir():
            merge = plan(read_recipe(self._winner(store)), self.open_sources())
            to_folder(merge, path, options=MergeOptions(force=True))
        training = self.planned(store)
        bred = partial(open_checkpoint, str(path), allow_pickle=trainer.run.config.allow_pickle)
        score_kept(trainer.run, {0: bred})  # what is wrong with it shows before the training
        training = trainer.train_missing(store, training, trainer.start_at(path), notify)
        self._refuse(store, training)

    def _winner(self, store: RunStore) -> StoredTrial:
        training = read_training(store, self.trainer.name)
        start = None if training is None else training.start
        winner = store.winner(MAIN) if start is None else store.trial(start)
        assert winner is not None, "the main search has a winner"
        return winner

    def plan(self, store: RunStore) -> Training:
        trainer, winner = self.trainer, self._winner(store)
        run, start, last = trainer.run, trainer.start_at(store.folder / BRED), trainer.last_trial(store)
        examples = trainer.examples(store, start, "found", last)
        rate = usual_rate(run.models.skeleton.config)
        rates = (rounded(rate * relative) for relative in relative_rates(len(run.items["fit"])))
        written = open_checkpoint(str(start.path), allow_pickle=run.config.allow_pickle)
        training = Training(
            parent=f"the bred model (trial {winner.asked.number})",
            reference=str(run_from(run.folder, store.folder) / BRED),
            items=len({example.item for example in examples}),
            examples=len(examples),
            steps=steps_of(len(examples)),
            last=last,
            settings=tuple(AdapterSetting(answers="found", learning_rate=each) for each in rates),
            start=winner.id,
            written=stamped(written),
        )
        return training if examples else training.failed(NOTHING_TO_LEARN)

    def _refuse(self, store: RunStore, training: Training) -> None:
        """Refuse the candidates that lost more of other abilities than the limit."""
        open_model = partial(open_trained, store.folder, self.trainer.run.folder)
        trained = {number: each for number, each in training.numbered.items() if each.failure is None}
        models = {number: partial(open_model, self._recipes[number].references[0]) for number in trained}
        kept = score_kept(self.trainer.run, models)
        for number, setting in trained.items():
            if kept is not None and (reason := kept.refusal(number)) is not None:
                training = training.with_setting(number, replace(setting, failure=reason))
                store.set_fact(training_fact(self.trainer.name), training)


class ParentSpace(AdapterSpace):
    """The best parent on fit, and LoRAs on it that are trained as those on the bred model."""

    def plan(self, store: RunStore) -> Training:
        bred, (parent, reference) = read_training(store, TUNED), self.best_parent(store)
        assert bred is not None, "the bred model was tuned before"
        settings = (replace(each, seconds=None, digest=None, failure=None) for each in bred.settings)
        training = replace(
            bred,
            parent=str(parent.name),
            reference=reference,
            settings=tuple(settings),
            start=parent.id,
            written=None,
        )
        return training if training.examples else training.failed(NOTHING_TO_LEARN)
