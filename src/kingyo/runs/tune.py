"""Tune the bred model and the best parent, and score what tuning must not lose: items of other abilities.

The fact ``kept`` has the scores of the bred model and of each tuned one. Their mean is over all items.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from kingyo.core.io.units import counted
from kingyo.core.types import Item, Split, Task
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, open_checkpoint
from kingyo.merging.engine import MergeOptions, Sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from kingyo.runs.adapters import (
    BATCH_SIZE,
    BRED_MODEL,
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
from kingyo.runs.config import TUNED, TUNED_PARENT, RunConfig
from kingyo.runs.config_file import specs_in
from kingyo.runs.model_kind import check_items, load_checkpoint, load_options, require_answers
from kingyo.runs.searches import require_adapters, training_search
from kingyo.runs.setup import Setup
from kingyo.search.evolution import MAIN, Event, Search
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.runners.evaluate import scores_of
from kingyo.search.space import parent_recipe
from kingyo.stats import ROUNDING, Groups
from kingyo.store import Fact, RunStore, StoredTrial
from kingyo.tasks import build_task, build_tasks, load_items, load_splits, require_teaching
from kingyo.tasks.kinds import Splits

DATA = (".jsonl", ".csv")
HIDDEN: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Scores on items of other abilities: candidate -> item -> score; candidate 0 is the bred model.

    ``limit`` is the points that a tuned model may lose, and ``items`` a hash of the items.
    """

    file: str
    limit: float
    items: str
    groups: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]

    def mean(self, candidate: int) -> float:
        own = self.scores[str(candidate)].values()
        return sum(own) / len(own)

    def pair(self, candidate: int) -> tuple[list[float], list[float]]:
        """Return the scores of a candidate and of the bred model, item by item."""
        own, bred = self.scores[str(candidate)], self.scores["0"]
        return [own[item] for item in bred], [*bred.values()]

    @property
    def groups_of_items(self) -> Groups | None:
        """Items that belong together, in the order of the scores."""
        return Groups.of(self.groups[item] for item in self.scores["0"])

    def refusal(self, candidate: int) -> str | None:
        """Return why a candidate must not be chosen; None if it may."""
        lost = 100 * (self.mean(0) - self.mean(candidate))
        if lost <= self.limit + 100 * ROUNDING:
            return None
        n = len(self.scores["0"])
        return (
            f"it loses {lost:.1f} points on {self.file} (n = {n:,}), and at most {self.limit:g} may be lost"
        )


KEPT = Fact("kept", Kept)
"""The scores so far, with ``keep``."""


def open_kept(run: Setup, file: str) -> tuple[Task, Sequence[Item]]:
    """Open the items to keep: those for test of a task file, or all if it names no splits or is data."""
    path = run.folder / file
    if not path.is_file():
        expected = "a task file, or a .jsonl or .csv file with items for the run's task"
        remedy = "Correct the path; in a run.yaml it begins at the folder of that file."
        raise KingyoError("tune.keep", expected, f"no file {path}", remedy)
    is_data = path.suffix in DATA
    try:
        task = _task_of(run.config, path, run.folder) if is_data else _task_in(path)
    except KingyoError as error:
        raise error.placed("tune.keep") from error
    require_answers(task, run.kind)
    hidden = {item.id.removeprefix(f"{item.task}/") for split in HIDDEN for item in run.items[split]}
    n_shared = sum(item.id.rpartition("/")[2] in hidden for item in task.items("test"))
    if n_shared:
        expected = "items that are not in the run's validation or test, because they help to choose a LoRA"
        remedy = "Take them out of the file, or name other data."
        raise KingyoError("tune.keep", expected, f"{file}, with {counted(n_shared, 'item')} of them", remedy)
    try:
        check_items(task, run.kind, run.models.skeleton.path)
    except KingyoError as error:
        raise error.placed(file) from error
    return task, task.items("test")


def _task_in(path: Path) -> Task:
    specs = specs_in(path)
    splits: Splits = load_splits(specs, path.parent).splits
    if not any("splits" in spec.model_fields_set for spec in specs.values()):
        splits = {"fit": (), "validation": (), "test": (*chain.from_iterable(splits.values()),)}
    return build_tasks(specs, splits, path.parent)


def _task_of(config: RunConfig, data: Path, folder: Path) -> Task:
    specs = [*config.specs.values()]
    if len(specs) > 1:
        remedy = "Write a task file that names the data and its grader."
        raise KingyoError("tune.keep", "a task file, in a run of several tasks", str(data), remedy)
    spec = specs[0].model_copy(update={"data": str(data.resolve())})
    items = load_items(spec, folder).items
    return build_task(spec, {"fit": (), "validation": (), "test": items}, folder)


def score_kept(run: Setup, models: Mapping[int, Callable[[], Checkpoint]]) -> Kept | None:
    """Score the candidates that have no scores yet, and store those of each; None without ``keep``."""
    wanted, store = run.config.tune, run.begun
    if wanted is None or wanted.keep is None:
        return None
    task, items = open_kept(run, wanted.keep)
    kept = store.fact(KEPT) or Kept(
        file=wanted.keep,
        limit=wanted.limit,
        items=_hash(items),
        groups={item.id: item.group for item in items},
        scores={},
    )
    if kept.items != _hash(items):
        remedy = "Restore the file, and continue."
        raise KingyoError(wanted.keep, "the items that the tuning began with", "other ones", remedy)
    for number, open_model in models.items():
        if str(number) not in kept.scores:
            live = load_checkpoint(open_model(), run.kind, load_options(run.config))
            scores = {each.item: each.score for each in scores_of(task, live, items)}
            kept = replace(kept, scores={**kept.scores, str(number): scores})
            store.set_fact(KEPT, kept)
    return kept


def _hash(items: Sequence[Item]) -> str:
    text = "\n".join(repr((item.id, item.prompt, item.answer)) for item in items)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


TUNING_RATES = (0.3, 0.1)
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
    """Return the training on the bred model, ``merge``, and that on the best parent."""
    require_tunable(run)
    n = 1 + len(relative_rates(len(run.items["fit"])))
    unprepared = parent_recipe(run.models.skeleton.reference, run.config.merge.dtype)
    spaces = (
        BredSpace(trainer=_trainer(run, TUNED), n=n, unprepared=merge, open_sources=open_sources),
        ParentSpace(trainer=_trainer(run, TUNED_PARENT), n=n, unprepared=unprepared),
    )
    return [replace(training_search(run, space), like=(MAIN,)) for space in spaces]


def relative_rates(n_fit: int) -> tuple[float, ...]:
    return (*TUNING_RATES, *((1.0,) if n_fit >= MANY_ITEMS else ()))


def _trainer(run: Setup, name: str) -> AdapterTrainer:
    return AdapterTrainer(name=name, argument="tune", run=run, taught_by=(MAIN,))


@dataclass(kw_only=True)
class BredSpace(AdapterSpace):
    """The bred model, and LoRAs on it."""

    open_sources: Callable[[], Sources]

    def prepare(self, store: RunStore, notify: Callable[[Event], None]) -> None:
        trainer, path = self.trainer, store.folder / BRED_MODEL
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
        run, start, last = trainer.run, trainer.start_at(store.folder / BRED_MODEL), trainer.last_trial(store)
        examples = trainer.examples(store, start, "found", last)
        rate = usual_rate(run.models.skeleton.config)
        rates = (rounded(rate * relative) for relative in relative_rates(len(run.items["fit"])))
        written = open_checkpoint(str(start.path), allow_pickle=run.config.allow_pickle)
        training = Training(
            parent=f"the bred model (trial {winner.asked.number})",
            reference=str(run_from(run.folder, store.folder) / BRED_MODEL),
            items=len({example.item for example in examples}),
            examples=len(examples),
            steps=max(1, PASSES * -(-len(examples) // BATCH_SIZE)),
            last=last,
            settings=tuple(AdapterSetting(answers="found", learning_rate=each) for each in rates),
            start=winner.id,
            written=stamped(written),
        )
        return training if examples else training.failed(NOTHING_TO_LEARN)

    def _refuse(self, store: RunStore, training: Training) -> None:
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
