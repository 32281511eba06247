"""The control ``trained``: a LoRA, trained on the fit items for as long as the main search took.

Its few candidates are settings of the training: the learning rate, and which answers are learned. Each is the
best parent on fit with an adapter that lies in the run folder, so it is scored, picked and exported as any
merge is. What was planned and done stands in the fact ``trained``. The clock decides once, about the number
of steps: a run that was killed goes on with the same steps, and trains an unfinished adapter anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal, cast

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.adapter import CONFIG, WEIGHTS
from kingyo.checkpoints.model_reference import parse_reference
from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, Objectives, stored_objectives
from kingyo.evolution.objectives import Scorer
from kingyo.io.lazy_torch import torch
from kingyo.io.schema import parse_settings
from kingyo.io.units import counted
from kingyo.models.kinds import ModelKind, TrainsLora, require_ability
from kingyo.recipe import Recipe
from kingyo.run.config import TRAINED, RunConfig
from kingyo.run.model_kind import kind_of_models
from kingyo.run.run_models import RunModels
from kingyo.run.stored_config import stored_config
from kingyo.space import SourceSpace, parent_recipe
from kingyo.store import RunStore
from kingyo.tasks import build_tasks, examples_of, set_measures_of
from kingyo.types import Axis, Example, Genome

if TYPE_CHECKING:
    from kingyo.models.training import Start

RELATIVE_RATES = (1.0, 3.0, 0.3, 0.1)
"""Learning rates, in units of what fits a model of its width; see ``_learning_rate``."""
MAX_SETTINGS = 4
BATCH_SIZE = 8
PROBE_STEPS = 5
"""Steps by which the time of a step is measured; the first of them is slow, and does not count."""
MIN_PASSES, MAX_PASSES = 4, 50
"""Over the examples, for each setting: where time is short there are fewer settings, not less than this."""
MAX_ANSWERS = 4
"""Different right answers to an item that are learned at most."""

AnswerSource = Literal["found", "own"]
"""Which answers are learned first: right ones that models of the run gave, or the items' own."""


@dataclass(frozen=True, kw_only=True)
class AdapterSetting:
    """How one adapter is trained; and how that ended.

    Attributes:
        answers: which answers it learns.
        learning_rate: the highest.
        seconds: that the steps took; None: not trained yet.
        digest: of the adapter's files.
        failure: why there is none.
    """

    answers: AnswerSource
    learning_rate: float
    seconds: float | None = None
    digest: str | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedControl:
    """What the control does, and what it has done.

    Attributes:
        parent: the model that it starts from, by its name in the run.
        reference: the same, without a LoRA that it may have.
        items: how many fit items have an answer to learn.
        examples: how many answers are learned.
        steps: of each setting.
        budget: seconds that the main search took, which all settings share.
        last: the trial (its id) up to which answers of the run are learned.
        settings: one for each candidate.
    """

    parent: str
    reference: str
    items: int
    examples: int
    steps: int
    budget: float
    last: int
    settings: tuple[AdapterSetting, ...]

    @property
    def seconds(self) -> float:
        """What the steps took so far."""
        return sum(each.seconds or 0.0 for each in self.settings)

    def __str__(self) -> str:
        """Say what it cost, in a sentence, or why it failed."""
        n = sum(each.seconds is not None for each in self.settings)
        failures = [each.failure for each in self.settings if each.failure is not None]
        failed = (
            f" {len(failures)} of {counted(len(self.settings), 'setting')} failed: {failures[0]}."
            if failures
            else ""
        )
        what = f"{counted(n, 'setting')} of {counted(self.steps, 'step')}, {BATCH_SIZE} examples each"
        return (
            f"The LoRA trained for {self.seconds:,.0f} s ({what}); the main search took {self.budget:,.0f} s "
            f"on fit. It starts from {self.parent}, and learned {counted(self.examples, 'answer')} to "
            f"{counted(self.items, 'fit item')}.{failed}"
        )

    def to_json(self) -> dict[str, object]:
        """Return the stable interface of ``kingyo show --json``."""
        return {**asdict(self), "seconds": self.seconds, "batch_size": BATCH_SIZE}


def require_trainable(kind: ModelKind) -> TrainsLora:
    """Return a kind of model as one that the control can train.

    Raises:
        KingyoError: this one cannot be trained.
    """
    return require_ability("control trained", TrainsLora, kind, "Switch it off: controls: {trained: false}.")


def read_training(store: RunStore) -> TrainedControl | None:
    """Return what the control of a run does; None where it has not begun."""
    stored = store.fact(TRAINED)
    if not isinstance(stored, dict):
        return None
    return parse_settings(
        TrainedControl, cast("Mapping[str, object]", stored), "the fact 'trained' in run.db"
    )


def adapter_folder(run: Path, number: int) -> Path:
    """Return the folder of the adapter of a candidate."""
    return run / TRAINED / str(number)


@dataclass(kw_only=True)
class TrainedSpace(SourceSpace):
    """The settings of the training as a space of one axis; ``prepare`` trains.

    Attributes:
        config, folder, models: of the run.
        like: the searches that cost as much, together.
    """

    config: RunConfig
    folder: Path
    models: RunModels
    like: tuple[str, ...]
    _references: tuple[str, ...] = field(default=(), init=False)

    @property
    def axes(self) -> Sequence[Axis]:
        """Return one axis: the setting. All go to validation, as fit cannot judge what was trained on it."""
        n = max(1, min(MAX_SETTINGS, self.config.finalists))
        choices = tuple(str(number) for number in range(n))
        return (Axis(name="setting", low=0, high=n - 1, kind="categorical", choices=choices),)

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a setting, where time was too short for all settings, the first ones again.

        Before the training it is the recipe of a model without a LoRA.
        """
        references = self._references or (self.models.skeleton.reference,)
        return parent_recipe(references[int(genome[0]) % len(references)], self.config.merge.dtype)

    def prepare(self, store: RunStore) -> None:
        """Train all that is not trained yet, or go on where a session ended."""
        from kingyo.models.training import Course

        train_lora, threads = self._kind.train_lora, store.fact("threads")
        if isinstance(threads, int):
            torch.set_num_threads(threads)
        training = read_training(store)
        if training is None:
            training = self._planned(store)
            store.set_fact(TRAINED, asdict(training))
        run = Path(os.path.relpath(store.folder.resolve(), self.folder.resolve()))
        self._references = tuple(
            f"{training.reference}+{adapter_folder(run, number)}" for number in range(len(training.settings))
        )
        for number, setting in enumerate(training.settings):
            out = adapter_folder(store.folder, number)
            if setting.failure is not None or (setting.digest is not None and setting.digest == _digest(out)):
                continue
            course = Course(
                steps=training.steps,
                learning_rate=setting.learning_rate,
                batch_size=BATCH_SIZE,
                seed=self.config.seed,
            )
            try:
                examples = self._examples(store, training.parent, setting.answers, training.last)
                seconds = sum(train_lora(self._start(training.parent), examples, course, out))
                done = replace(setting, seconds=seconds, digest=_digest(out))
            except (
                KingyoError,
                RuntimeError,
            ) as error:  # a control that fails must not cost a run its winner
                done = replace(setting, failure=str(error))
            settings = [done if n == number else each for n, each in enumerate(training.settings)]
            training = replace(training, settings=tuple(settings))
            store.set_fact(TRAINED, asdict(training))

    def _planned(self, store: RunStore) -> TrainedControl:
        """Choose parent, examples, settings, and by the clock the steps."""
        from kingyo.models.training import Course

        train_lora = self._kind.train_lora
        parent = best_parent(store, list(self.models.named), self._objectives(store))
        last = max(trial.id for trial in store.trials())
        found, own = (self._examples(store, parent, kind, last) for kind in ("found", "own"))
        n = len(self.axes[0].choices)
        usual = _learning_rate(self._checkpoint(parent).config)
        settings = _settings(n, usual, is_one=found == own)
        budget = sum(seconds for name in self.like for _, seconds in store.costs(name, "fit").values())
        reference = str(parse_reference(self._checkpoint(parent).reference, self.folder).base)
        training = TrainedControl(
            parent=parent,
            reference=reference,
            items=len({each.item for each in found}),
            examples=len(found),
            steps=1,
            budget=budget,
            last=last,
            settings=settings,
        )
        if not found:
            return replace(training, settings=tuple(replace(each, failure=_NOTHING) for each in settings))
        try:
            course = Course(steps=PROBE_STEPS, learning_rate=usual, batch_size=BATCH_SIZE)
            pace = median(train_lora(self._start(parent), found, course)[1:])
        except (KingyoError, RuntimeError) as error:
            return replace(training, settings=tuple(replace(each, failure=str(error)) for each in settings))
        one_pass, steps = -(-len(found) // BATCH_SIZE), int(budget / pace)
        n = max(1, min(n, steps // (MIN_PASSES * one_pass)))
        return replace(training, settings=settings[:n], steps=max(1, min(MAX_PASSES * one_pass, steps // n)))

    def _objectives(self, store: RunStore) -> Objectives:
        task = build_tasks(self.config.specs, store.items(), self.folder)
        return stored_objectives(store).bound(set_measures_of(task))

    @property
    def _kind(self) -> TrainsLora:
        return require_trainable(kind_of_models(self.models.named, self.config.kind, self.folder))

    def _checkpoint(self, name: str) -> Checkpoint:
        return self.models.named[name]

    def _start(self, parent: str) -> Start:
        from kingyo.models.training import Start

        model = self._checkpoint(parent)
        adapter = None if model.adapter is None else model.adapter.path
        device, allow_pickle = self.config.device, self.config.allow_pickle
        return Start(path=model.path, adapter=adapter, device=device, allow_pickle=allow_pickle)

    def _examples(
        self, store: RunStore, parent: str, answers: AnswerSource, last: int
    ) -> tuple[Example, ...]:
        items = store.items()
        task = build_tasks(self.config.specs, items, self.folder)
        reader = self._kind.reader(self._checkpoint(parent).path)
        right = store.right_answers((BASELINES, *self.like), "fit", last)
        few = {item: texts[:MAX_ANSWERS] for item, texts in right.items()}
        return examples_of(task, reader, items["fit"], few, prefers_given=answers == "found")


def best_parent(store: RunStore, names: Collection[str], objectives: Objectives) -> str:
    """Return the best on fit of the base and the sources, given by their names; the first of equals."""
    scorer = Scorer(objectives, store.items()["fit"])
    values = {
        str(trial.name): scorer.value(found) or 0.0
        for trial in store.trials(BASELINES)
        if trial.name in names and (found := store.evaluation(trial.id, "fit")) is not None
    }
    return max(values, key=lambda name: values[name])


_NOTHING = (
    "there is nothing to learn: no fit item has an answer of its own that the graders give full marks, "
    "and no model of the run gave such an answer"
)


def _learning_rate(config: Mapping[str, object]) -> float:
    """Return the learning rate of a LoRA that was found best for Llamas, by the width of the model.

    Schulman et al. 2025, LoRA Without Regret (thinkingmachines.ai/blog/lora): 5e-4 (2000 / width)^0.781.
    """
    inner = config.get("text_config")
    levels = [config, cast("Mapping[str, object]", inner)] if isinstance(inner, dict) else [config]
    found = [level.get(key) for level in levels for key in ("hidden_size", "n_embd", "d_model")]
    width = next((each for each in found if isinstance(each, int) and each > 0), 2000)
    return float(f"{5e-4 * (2000 / width) ** 0.781:.2g}")


def _settings(n: int, usual: float, *, is_one: bool) -> tuple[AdapterSetting, ...]:
    """Return n settings, the likeliest first; one kind of answers gets all learning rates."""
    kinds: tuple[AnswerSource, ...] = ("found",) if is_one else ("found", "own")
    rates = [float(f"{usual * rate:.2g}") for rate in RELATIVE_RATES]
    every = [AdapterSetting(answers=kind, learning_rate=rate) for rate in rates for kind in kinds]
    return tuple(every[:n])


def open_trained(run: Path, folder: Path, reference: str) -> Checkpoint:
    """Open a model that was trained by a run.

    Args:
        run: the run folder.
        folder: where the run's relative paths start.
        reference: as a recipe of the run names it.

    Raises:
        KeyError: the run trained no such model.
        ValueError: it could not be trained.
        KingyoError: it is no longer what it was.
    """
    with RunStore.read(run) as store:
        training, (config, _) = read_training(store), stored_config(store)
    settings = () if training is None else training.settings
    number = next(
        (n for n in range(len(settings)) if reference.endswith(str(adapter_folder(Path(), n)))), None
    )
    if training is None or number is None or not reference.startswith(f"{training.reference}+"):
        raise KeyError(reference)
    setting = settings[number]
    if setting.failure is not None:
        raise ValueError(f"The training failed: {setting.failure}")
    if setting.digest != _digest(adapter_folder(run, number)):
        raise KingyoError(
            str(adapter_folder(run, number)),
            expected="the adapter that the run trained",
            received="another one, or none",
            remedy="Bring the old files back, or start a new run.",
        )
    named = f"{training.reference}+{adapter_folder(run.resolve(), number)}"
    opened = open_checkpoint(named, folder, allow_pickle=config.allow_pickle)
    return replace(opened, reference=reference)  # also of a run that was moved


def _digest(adapter: Path) -> str | None:
    """Return a hash of an adapter's files; None where they are not all there."""
    files = (adapter / CONFIG, adapter / WEIGHTS)
    if not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
