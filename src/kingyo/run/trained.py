"""The control ``trained``: a LoRA that is trained on the fit items for as long as the main search took.

Its candidates differ in learning rate and in the answers that they learn. Each is the best parent on fit with
an adapter in the run folder. The fact ``trained`` holds the plan and its results. The number of steps is
fixed once, from measured time, so an interrupted run continues with it and trains unfinished adapters anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Literal, cast

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.adapter import CONFIG, WEIGHTS
from kingyo.checkpoints.model_reference import parse_reference
from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, Event, Objectives, stored_objectives
from kingyo.evolution.scorer import Scorer
from kingyo.io.lazy_torch import torch
from kingyo.io.schema import parse_settings
from kingyo.io.units import counted
from kingyo.models.kinds import Course, ModelKind, Start, TrainsLora, require_ability
from kingyo.recipe import Recipe
from kingyo.run.config import TRAINED, RunConfig
from kingyo.run.model_kind import kind_of_models
from kingyo.run.setup import RunModels, stored_config
from kingyo.space import SourceSpace, parent_recipe
from kingyo.store import RunStore
from kingyo.tasks import build_tasks, examples_of, set_measures_of
from kingyo.types import Axis, Example, Genome

BATCH_SIZE = 8

AnswerSource = Literal["found", "own"]
"""Preferred answers: correct ones that models of the run gave, or those of the items."""


@dataclass(frozen=True, kw_only=True)
class AdapterSetting:
    """Settings of one adapter, and the result of its training."""

    answers: AnswerSource
    learning_rate: float
    seconds: float | None = None
    digest: str | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedControl:
    """Plan and results of the control."""

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
        """Duration of all steps so far."""
        return sum(setting.seconds or 0.0 for setting in self.settings)

    def __str__(self) -> str:
        """Return a sentence on the training, its cost and its failures."""
        n = sum(setting.seconds is not None for setting in self.settings)
        failures = [setting.failure for setting in self.settings if setting.failure is not None]
        failed = (
            f" {len(failures)} of {counted(len(self.settings), 'setting')} failed: {failures[0]}."
            if failures
            else ""
        )
        steps = f"{counted(n, 'setting')} of {counted(self.steps, 'step')}, {BATCH_SIZE} examples each"
        return (
            f"The LoRA trained for {self.seconds:,.0f} s ({steps}); the main search took "
            f"{self.budget:,.0f} s on fit. It starts from {self.parent}, and learned "
            f"{counted(self.examples, 'answer')} to {counted(self.items, 'fit item')}.{failed}"
        )

    def to_json(self) -> dict[str, object]:
        """Return the record in ``kingyo show --json``."""
        return {**asdict(self), "seconds": self.seconds, "batch_size": BATCH_SIZE}


def require_trainable(kind: ModelKind) -> TrainsLora:
    """Return a kind of model that can train a LoRA."""
    return require_ability("control trained", TrainsLora, kind, "Switch it off: controls: {trained: false}.")


def read_training(store: RunStore) -> TrainedControl | None:
    """Return the control of a run, or None before it begins."""
    record = store.fact(TRAINED)
    if not isinstance(record, dict):
        return None
    return parse_settings(
        TrainedControl, cast("Mapping[str, object]", record), "the fact 'trained' in run.db"
    )


def adapter_folder(run: Path, number: int) -> Path:
    """Return the folder of the adapter of a candidate."""
    return run / TRAINED / str(number)


def adapter_digest(adapter: Path) -> str | None:
    """Return a hash of an adapter's files; None if one is missing."""
    files = (adapter / CONFIG, adapter / WEIGHTS)
    if not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def open_trained(run: Path, folder: Path, reference: str) -> Checkpoint:
    """Open a model that a run trained.

    Raises:
        KeyError: the run trained no such model.
        ValueError: the training failed.
        KingyoError: the adapter has changed.
    """
    with RunStore.read(run) as store:
        training, (config, _) = read_training(store), stored_config(store)
    settings = () if training is None else training.settings
    number = next(
        (n for n in range(len(settings)) if reference.endswith(str(adapter_folder(Path(), n)))), None
    )
    if training is None or number is None or not reference.startswith(f"{training.reference}+"):
        raise KeyError(reference)
    setting, adapter = settings[number], adapter_folder(run, number)
    if setting.failure is not None:
        raise ValueError(f"The training failed: {setting.failure}")
    if setting.digest != adapter_digest(adapter):
        raise KingyoError(
            str(adapter),
            expected="the adapter that the run trained",
            received="another one, or none",
            remedy="Restore its files, or start a new run.",
        )
    path = f"{training.reference}+{adapter_folder(run.resolve(), number)}"
    checkpoint = open_checkpoint(path, folder, allow_pickle=config.allow_pickle)
    return replace(checkpoint, reference=reference)  # the run may have moved


RELATIVE_RATES = (1.0, 3.0, 0.3, 0.1)
"""Learning rates relative to ``_learning_rate``."""
MAX_SETTINGS = 4
PROBE_STEPS = 5
"""Steps that measure the time of a step; the first is slow and does not count."""
MIN_PASSES, MAX_PASSES = 4, 50
"""Passes over the examples per setting. If time is short, there are fewer settings, not fewer passes."""
MAX_ANSWERS = 4
"""Maximum number of distinct correct answers per item that are learned."""
NOTHING_TO_LEARN = (
    "there is nothing to learn: no fit item has a reference answer that the graders score 1, "
    "and no model of the run gave such an answer"
)


@dataclass(kw_only=True)
class TrainedSpace(SourceSpace):
    """Training settings as a space of one axis."""

    config: RunConfig
    folder: Path
    models: RunModels
    timed_searches: tuple[str, ...]
    _references: tuple[str, ...] = field(default=(), init=False)

    @property
    def axes(self) -> Sequence[Axis]:
        """One axis with at most one setting per finalist, because fit cannot rank models trained on it."""
        n = max(1, min(MAX_SETTINGS, self.config.finalists))
        choices = tuple(str(number) for number in range(n))
        return (Axis(name="setting", low=0, high=n - 1, kind="categorical", choices=choices),)

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a setting; if time was too short for all settings, the first ones repeat.

        Before the training it is the recipe of a model without a LoRA.
        """
        references = self._references or (self.models.skeleton.reference,)
        return parent_recipe(references[int(genome[0]) % len(references)], self.config.merge.dtype)

    def prepare(self, store: RunStore, notify: Callable[[Event], None]) -> None:
        """Train all adapters that are missing."""
        threads = store.fact("threads")
        if isinstance(threads, int):
            torch.set_num_threads(threads)
        training = read_training(store)
        if training is None:
            training = self._plan(store)
            store.set_fact(TRAINED, asdict(training))
        run = Path(os.path.relpath(store.folder.resolve(), self.folder.resolve()))
        self._references = tuple(
            f"{training.reference}+{adapter_folder(run, number)}" for number in range(len(training.settings))
        )
        for number in range(len(training.settings)):
            setting, adapter = training.settings[number], adapter_folder(store.folder, number)
            is_trained = setting.digest is not None and setting.digest == adapter_digest(adapter)
            if setting.failure is None and not is_trained:
                training = self._trained(store, training, number, notify)
                store.set_fact(TRAINED, asdict(training))

    def _trained(
        self, store: RunStore, training: TrainedControl, number: int, notify: Callable[[Event], None]
    ) -> TrainedControl:
        setting, out = training.settings[number], adapter_folder(store.folder, number)
        total = training.steps * len(training.settings)

        def progress(steps: int) -> None:
            done = number * training.steps + steps
            notify(Event(kind="trained", search=TRAINED, split="fit", done=done, total=total))

        course = Course(
            steps=training.steps,
            learning_rate=setting.learning_rate,
            batch_size=BATCH_SIZE,
            seed=self.config.seed,
            progress=progress,
        )
        train_lora = self._kind.train_lora
        try:
            examples = self._examples(store, training.parent, setting.answers, training.last)
            seconds = sum(train_lora(self._start(training.parent), examples, course, out))
            setting = replace(setting, seconds=seconds, digest=adapter_digest(out))
        except (KingyoError, RuntimeError) as error:
            setting = replace(setting, failure=str(error))
        settings = training.settings
        return replace(training, settings=(*settings[:number], setting, *settings[number + 1 :]))

    def _plan(self, store: RunStore) -> TrainedControl:
        """Choose parent, examples and settings, and measure how many steps fit the budget."""
        task = build_tasks(self.config.specs, store.items(), self.folder)
        objectives = stored_objectives(store).with_set_measures(set_measures_of(task))
        parent = best_parent(store, list(self.models.named), objectives)
        last = max(trial.id for trial in store.trials())
        examples = self._examples(store, parent, "found", last)
        reference_examples = self._examples(store, parent, "own", last)
        rate = _learning_rate(self.models.named[parent].config)
        settings = _settings(len(self.axes[0].choices), rate, is_one_source=examples == reference_examples)
        training = TrainedControl(
            parent=parent,
            reference=str(parse_reference(self.models.named[parent].reference, self.folder).base),
            items=len({example.item for example in examples}),
            examples=len(examples),
            steps=1,
            budget=sum(
                seconds for name in self.timed_searches for _, seconds in store.costs(name, "fit").values()
            ),
            last=last,
            settings=settings,
        )
        if not examples:
            return _failed(training, NOTHING_TO_LEARN)
        try:
            step_seconds = self._step_seconds(parent, examples, rate)
        except (KingyoError, RuntimeError) as error:
            return _failed(training, str(error))
        return _within_budget(training, step_seconds)

    def _step_seconds(self, parent: str, examples: Sequence[Example], rate: float) -> float:
        course = Course(steps=PROBE_STEPS, learning_rate=rate, batch_size=BATCH_SIZE)
        return median(self._kind.train_lora(self._start(parent), examples, course)[1:])

    @property
    def _kind(self) -> TrainsLora:
        return require_trainable(kind_of_models(self.models.named, self.config.kind, self.folder))

    def _start(self, parent: str) -> Start:
        model = self.models.named[parent]
        adapter = None if model.adapter is None else model.adapter.path
        device, allow_pickle = self.config.device, self.config.allow_pickle
        return Start(path=model.path, adapter=adapter, device=device, allow_pickle=allow_pickle)

    def _examples(self, store: RunStore, parent: str, source: AnswerSource, last: int) -> tuple[Example, ...]:
        items = store.items()
        task = build_tasks(self.config.specs, items, self.folder)
        reader = self._kind.reader(self.models.named[parent].path)
        right = store.right_answers((BASELINES, *self.timed_searches), "fit", last)
        answers = {item: texts[:MAX_ANSWERS] for item, texts in right.items()}
        return examples_of(task, reader, items["fit"], answers, prefers_given=source == "found")


def best_parent(store: RunStore, names: Collection[str], objectives: Objectives) -> str:
    """Return the name of the base or source with the best score on fit; ties go to the first."""
    scorer = Scorer(objectives, store.items()["fit"])
    values = {
        str(trial.name): scorer.value(evaluation) or 0.0
        for trial in store.trials(BASELINES)
        if trial.name in names and (evaluation := store.evaluation(trial.id, "fit")) is not None
    }
    return max(values, key=lambda name: values[name])


def _failed(training: TrainedControl, reason: str) -> TrainedControl:
    settings = tuple(replace(setting, failure=reason) for setting in training.settings)
    return replace(training, settings=settings)


def _within_budget(training: TrainedControl, step_seconds: float) -> TrainedControl:
    pass_steps, total_steps = -(-training.examples // BATCH_SIZE), int(training.budget / step_seconds)
    n = max(1, min(len(training.settings), total_steps // (MIN_PASSES * pass_steps)))
    steps = max(1, min(MAX_PASSES * pass_steps, total_steps // n))
    return replace(training, settings=training.settings[:n], steps=steps)


def _learning_rate(config: Mapping[str, object]) -> float:
    """Return the best learning rate of a LoRA for Llamas, by the width of the model.

    Schulman et al. 2025, LoRA Without Regret (thinkingmachines.ai/blog/lora): 5e-4 (2000 / width)^0.781.
    """
    inner = config.get("text_config")
    levels = [config, cast("Mapping[str, object]", inner)] if isinstance(inner, dict) else [config]
    widths = [level.get(key) for level in levels for key in ("hidden_size", "n_embd", "d_model")]
    width = next((width for width in widths if isinstance(width, int) and width > 0), 2000)
    return float(f"{5e-4 * (2000 / width) ** 0.781:.2g}")


def _settings(n: int, rate: float, *, is_one_source: bool) -> tuple[AdapterSetting, ...]:
    sources: tuple[AnswerSource, ...] = ("found",) if is_one_source else ("found", "own")
    rates = [float(f"{rate * relative:.2g}") for relative in RELATIVE_RATES]
    settings = [AdapterSetting(answers=source, learning_rate=rate) for rate in rates for source in sources]
    return tuple(settings[:n])
