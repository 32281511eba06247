"""Tune a run after its search: train LoRAs on the bred model, and on the best parent to compare."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

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
    read_training,
    rounded,
    run_from,
    stamped,
    usual_rate,
)
from kingyo.runs.config import TUNED, TUNED_PARENT
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
    """Return the training on the bred model, ``merge``, and that on the best parent."""
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
    return (*RELATIVE_RATES, *((1.0,) if n_fit >= MANY_ITEMS else ()))


def _trainer(run: Setup, name: str) -> AdapterTrainer:
    return AdapterTrainer(name=name, argument="tune", run=run, taught_by=(MAIN,))


@dataclass(kw_only=True)
class BredSpace(AdapterSpace):
    """The bred model, and LoRAs on it."""

    open_sources: Callable[[], Sources]

    def prepare(self, store: RunStore, notify: Callable[[Event], None]) -> None:
        trainer, path = self.trainer, store.folder / BRED
        if read_training(store, trainer.name) is None or not path.is_dir():
            merge = plan(read_recipe(self._winner(store)), self.open_sources())
            to_folder(merge, path, options=MergeOptions(force=True))
        training = self.planned(store)
        trainer.train_missing(store, training, trainer.start_at(path), notify)

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
            steps=max(1, PASSES * -(-len(examples) // BATCH_SIZE)),
            last=last,
            settings=tuple(AdapterSetting(answers="found", learning_rate=each) for each in rates),
            start=winner.id,
            written=stamped(written),
        )
        return training if examples else training.failed(NOTHING_TO_LEARN)


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
