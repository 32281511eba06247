"""LoRAs that a run trains on its fit items, as candidates of a search: the control ``trained``, and tuning.

Each is a model of the run with an adapter in the run folder. A fact, named like the search, holds the plan
and its results, and the plan fixes the number of steps. So an interrupted run continues with it and trains
unfinished adapters anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Literal, cast

from kingyo.core.io.units import counted
from kingyo.core.types import Axis, Example, Genome
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fingerprints_of, is_as_stamped, open_checkpoint, stamps_of
from kingyo.merging.checkpoints.adapter import CONFIG, WEIGHTS
from kingyo.merging.checkpoints.model_reference import parse_reference
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import Course, Start, TrainsLora, require_ability
from kingyo.runs.config import TRAININGS
from kingyo.runs.model_kind import preprocessor_of
from kingyo.runs.setup import Setup, stored_config, use_threads
from kingyo.search.evolution import BASELINES, Event, Objectives, stored_objectives
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.space import parent_recipe
from kingyo.store import Fact, RunStore, StoredTrial
from kingyo.tasks import examples_of, set_measures_of

BATCH_SIZE = 8
BRED_MODEL = Path("tuned") / "bred"
"""The bred model within the run folder, to train on."""
MAX_ANSWERS = 4
"""Maximum number of distinct correct answers per item that are learned."""
NOTHING_TO_LEARN = (
    "there is nothing to learn: no fit item has a reference answer that the graders score 1, "
    "and no model of the run gave such an answer"
)

AnswerSource = Literal["found", "own"]
"""Preferred answers: correct ones that models of the run gave, or those of the items."""
Notify = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class AdapterSetting:
    """Settings of one adapter, and the result of its training."""

    answers: AnswerSource
    learning_rate: float
    seconds: float | None = None
    digest: str | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """Plan and results of the adapters of one search.

    Attributes:
        parent, reference: the model that they start from, without an adapter.
        items, examples: fit items with right answers, and number of these answers.
        steps: updates per adapter.
        budget: seconds that the control ``trained`` may take; None if time sets no limit.
        share: the budget as a share of the seconds of the main search on fit.
        last: id of the last trial whose answers are learned.
        settings: one per adapter.
        start: id of the trial that the model is; None for a parent that is named only.
        written: fingerprint and stamps of a model that the run wrote to train on.
    """

    parent: str
    reference: str
    items: int
    examples: int
    steps: int
    budget: float | None = None
    share: float = 1.0
    last: int
    settings: tuple[AdapterSetting, ...]
    start: int | None = None
    written: Mapping[str, object] | None = None

    @property
    def first(self) -> int:
        """Number of the first candidate with an adapter; before it is the model itself, if it is a trial."""
        return 0 if self.start is None else 1

    @property
    def numbered(self) -> dict[int, AdapterSetting]:
        return dict(enumerate(self.settings, self.first))

    def number_of(self, candidate: int) -> int:
        """Return the number of a candidate's adapter; of the control, candidates may share the first ones."""
        return self.first + (candidate - self.first) % len(self.settings)

    def with_setting(self, number: int, setting: AdapterSetting) -> Training:
        return replace(self, settings=tuple({**self.numbered, number: setting}.values()))

    def failed(self, reason: str) -> Training:
        return replace(self, settings=tuple(replace(each, failure=reason) for each in self.settings))

    @property
    def seconds(self) -> float:
        return sum(setting.seconds or 0.0 for setting in self.settings)

    @property
    def step_seconds(self) -> float | None:
        """Mean duration of a step; None if nothing was trained."""
        n = sum(setting.seconds is not None for setting in self.settings)
        return self.seconds / (n * self.steps) if n else None

    def __str__(self) -> str:
        n = sum(setting.seconds is not None for setting in self.settings)
        failures, failed = [each.failure for each in self.settings if each.failure is not None], ""
        if failures:
            of = f"{len(failures)} of {counted(len(self.settings), 'setting')}"
            failed = f" {of} dropped out, the first because {failures[0].rstrip('.')}."
        if not n:
            return f"No LoRA was trained.{failed}"
        steps = f"{counted(n, 'setting')} of {counted(self.steps, 'step')}, {BATCH_SIZE} examples each"
        budget = None if self.budget is None else self.budget / self.share
        search = "" if budget is None else f"; the main search took {budget:,.0f} s on fit"
        return (
            f"The LoRA trained for {self.seconds:,.0f} s ({steps}){search}. It starts from {self.parent}, "
            f"and learned {counted(self.examples, 'answer')} to {counted(self.items, 'fit item')}.{failed}"
        )

    def to_json(self) -> dict[str, object]:
        record = {key: value for key, value in asdict(self).items() if value is not None and key != "written"}
        return {**record, "seconds": self.seconds, "batch_size": BATCH_SIZE}


@cache
def training_fact(name: str) -> Fact[Training | None]:
    return Fact(name, Training)


def read_training(store: RunStore, name: str) -> Training | None:
    return store.fact(training_fact(name))


def adapter_folder(run: Path, name: str, number: int) -> Path:
    return run / name / str(number)


def adapter_digest(adapter: Path) -> str | None:
    """Return a hash of an adapter's files; None if one is missing."""
    files = (adapter / CONFIG, adapter / WEIGHTS)
    if not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run_from(folder: Path, run: Path) -> Path:
    """Return the run folder as references to its models name it: relative to the run.yaml."""
    return Path(os.path.relpath(run.resolve(), folder.resolve()))


def stamped(checkpoint: Checkpoint) -> dict[str, object]:
    (fingerprint,) = fingerprints_of([checkpoint]).values()
    return {"fingerprint": fingerprint, "stamps": stamps_of(checkpoint)}


def open_trained(run: Path, folder: Path, reference: str) -> Checkpoint:
    """Open a model that a run trained.

    Raises:
        KeyError: the run trained no such model.
        ValueError: the training failed.
        KingyoError: the adapter, or the model that it was trained on, has changed.
    """
    with RunStore.read(run) as store:
        trainings = {name: each for name in TRAININGS if (each := read_training(store, name)) is not None}
        config, _ = stored_config(store)
    for name, training in trainings.items():
        for number, setting in training.numbered.items():
            within = adapter_folder(Path(), name, number)
            if not (reference.startswith(f"{training.reference}+") and reference.endswith(f"/{within}")):
                continue
            if setting.failure is not None:
                raise ValueError(f"The training failed: {setting.failure}")
            adapter, base = run.resolve() / within, training.reference
            if setting.digest != adapter_digest(adapter):
                raise _changed(adapter, "the adapter that the run trained")
            if training.written is not None:
                base = str(run.resolve() / BRED_MODEL)
                _require_as_written(Path(base), training.written, allow_pickle=config.allow_pickle)
            checkpoint = open_checkpoint(f"{base}+{adapter}", folder, allow_pickle=config.allow_pickle)
            return replace(checkpoint, reference=reference)  # the run may have moved
    raise KeyError(reference)


def _require_as_written(path: Path, written: Mapping[str, object], *, allow_pickle: bool) -> None:
    if path.is_dir():
        model = open_checkpoint(str(path), allow_pickle=allow_pickle)
        if is_as_stamped(model, written["stamps"]) or stamped(model)["fingerprint"] == written["fingerprint"]:
            return
    raise _changed(path, "the bred model that the run wrote to train on")


def _changed(path: Path, expected: str) -> KingyoError:
    return KingyoError(str(path), expected, "another one, or none", "Restore its files, or start a new run.")


@dataclass(frozen=True, kw_only=True)
class AdapterTrainer:
    """Trains the adapters of one search, whose ``name`` is also that of the fact and the folder.

    It learns the right answers of the baselines and of the searches ``taught_by``. Errors name ``argument``.
    """

    name: str
    argument: str
    run: Setup
    taught_by: tuple[str, ...]

    @property
    def kind(self) -> TrainsLora:
        return require_ability(self.argument, TrainsLora, self.run.kind, "Leave it out.")

    def start_of(self, parent: str) -> Start:
        """Return a base or source to train on; its own LoRA is trained further."""
        model = self.run.models.named[parent]
        return self.start_at(model.path, None if model.adapter is None else model.adapter.path)

    def start_at(self, path: Path, adapter: Path | None = None) -> Start:
        device, allow_pickle = self.run.config.device, self.run.config.allow_pickle
        return Start(path=path, adapter=adapter, device=device, allow_pickle=allow_pickle)

    def last_trial(self, store: RunStore) -> int:
        return max(trial.id for name in (BASELINES, *self.taught_by) for trial in store.trials(name))

    def examples(self, store: RunStore, start: Start, source: AnswerSource, last: int) -> tuple[Example, ...]:
        """Return the right answers to fit items, of trials up to ``last``, as the model reads them."""
        own = preprocessor_of(self.kind, start.path)
        right = store.right_answers((BASELINES, *self.taught_by), "fit", last)
        answers = {item: texts[:MAX_ANSWERS] for item, texts in right.items()}
        return examples_of(
            self.run.task, own, self.run.items["fit"], answers, prefers_given=source == "found"
        )

    def train_missing(self, store: RunStore, training: Training, start: Start, notify: Notify) -> Training:
        use_threads(store)
        for number, setting in training.numbered.items():
            out = adapter_folder(store.folder, self.name, number)
            is_trained = setting.digest is not None and setting.digest == adapter_digest(out)
            if setting.failure is None and not is_trained:
                trained = self._trained(store, training, number, start, notify)
                training = training.with_setting(number, trained)
                store.set_fact(training_fact(self.name), training)
        return training

    def _trained(
        self, store: RunStore, training: Training, number: int, start: Start, notify: Notify
    ) -> AdapterSetting:
        setting, out = training.numbered[number], adapter_folder(store.folder, self.name, number)
        before = (number - training.first) * training.steps
        total = training.steps * len(training.settings)

        def progress(steps: int) -> None:
            notify(Event(kind="trained", search=self.name, split="fit", done=before + steps, total=total))

        course = Course(
            steps=training.steps,
            learning_rate=setting.learning_rate,
            batch_size=BATCH_SIZE,
            seed=self.run.config.seed,
            progress=progress,
        )
        try:
            examples = self.examples(store, start, setting.answers, training.last)
            seconds = sum(self.kind.train_lora(start, examples, course, out))
        except (KingyoError, RuntimeError) as error:
            return replace(setting, failure=str(error))
        return replace(setting, seconds=seconds, digest=adapter_digest(out))


@dataclass(kw_only=True)
class AdapterSpace:
    """LoRAs on a model as a space of one axis, after that model itself if it is a trial.

    It has ``n`` candidates; if time is too short for all of them, the first ones repeat. Before the training
    all have the recipe ``unprepared``.
    """

    trainer: AdapterTrainer
    n: int
    unprepared: Recipe
    _recipes: tuple[Recipe, ...] = field(default=(), init=False)

    @property
    def axes(self) -> Sequence[Axis]:
        choices = tuple(str(number) for number in range(self.n))
        return (Axis(name="setting", low=0, high=self.n - 1, kind="categorical", choices=choices),)

    def decode(self, genome: Genome) -> Recipe:
        recipes = self._recipes or (self.unprepared,)
        return recipes[int(genome[0]) % len(recipes)]

    def plan(self, store: RunStore) -> Training:
        """Choose the model to train, the answers, the settings and the number of steps."""
        raise NotImplementedError

    def prepare(self, store: RunStore, notify: Notify) -> None:
        training = self.planned(store)
        self.trainer.train_missing(store, training, self.trainer.start_of(training.parent), notify)

    def planned(self, store: RunStore) -> Training:
        trainer = self.trainer
        use_threads(store)
        training = read_training(store, trainer.name)
        if training is None:
            training = self.plan(store)
            store.set_fact(training_fact(trainer.name), training)
        first = () if training.start is None else (read_recipe(store.trial(training.start)),)
        dtype, within = trainer.run.config.merge.dtype, run_from(trainer.run.folder, store.folder)
        folders = (adapter_folder(within, trainer.name, number) for number in training.numbered)
        recipes = (parent_recipe(f"{training.reference}+{each}", dtype) for each in folders)
        self._recipes = (*first, *recipes)
        return training

    def best_parent(self, store: RunStore) -> tuple[StoredTrial, str]:
        """Return the base or source with the best score on fit, and its reference without an adapter."""
        run = self.trainer.run
        objectives = stored_objectives(store).with_set_measures(set_measures_of(run.task))
        parent = best_parent(store, list(run.models.named), objectives)
        reference = parse_reference(run.models.named[str(parent.name)].reference, run.folder)
        return parent, str(reference.base)


def usual_rate(config: Mapping[str, object]) -> float:
    """Return the best learning rate of a LoRA for Llamas, by the width of the model.

    Schulman et al. 2025, LoRA Without Regret (thinkingmachines.ai/blog/lora): 5e-4 (2000 / width)^0.781.
    """
    inner = config.get("text_config")
    levels = [config, cast("Mapping[str, object]", inner)] if isinstance(inner, dict) else [config]
    widths = [level.get(key) for level in levels for key in ("hidden_size", "n_embd", "d_model")]
    width = next((width for width in widths if isinstance(width, int) and width > 0), 2000)
    return rounded(5e-4 * (2000 / width) ** 0.781)


def rounded(rate: float) -> float:
    return float(f"{rate:.2g}")


def best_parent(store: RunStore, names: Collection[str], objectives: Objectives) -> StoredTrial:
    """Return the base or source with the best score on fit; ties go to the first."""
    scorer = Scorer(objectives, store.items()["fit"])
    values = {
        trial: scorer.value(evaluation) or 0.0
        for trial in store.trials(BASELINES)
        if trial.name in names and (evaluation := store.evaluation(trial.id, "fit")) is not None
    }
    return max(values, key=lambda trial: values[trial])


RELATIVE_RATES = (1.0, 3.0, 0.3, 0.1)
"""Learning rates relative to ``usual_rate``."""
MAX_SETTINGS = 4
PROBE_STEPS = 5
"""Steps that measure the time of a step; the first is slow and does not count."""
MIN_PASSES, MAX_PASSES = 4, 50
"""Passes over the examples per setting. If time is short, there are fewer settings, not fewer passes."""


class TrainedSpace(AdapterSpace):
    """The control ``trained``: LoRAs on the best parent, for a share of the time of the main search.

    They differ in learning rate and in the answers that they learn. The number of steps is fixed once, from
    measured time.
    """

    def plan(self, store: RunStore) -> Training:
        trainer, (trial, reference) = self.trainer, self.best_parent(store)
        parent = str(trial.name)
        start, last = trainer.start_of(parent), trainer.last_trial(store)
        examples, own = (trainer.examples(store, start, source, last) for source in ("found", "own"))
        rate = usual_rate(trainer.run.models.named[parent].config)
        share = float(trainer.run.config.controls.trained or 1.0)
        costs = (cost for name in trainer.taught_by for cost in store.costs(name, "fit").values())
        budget = share * sum(seconds for _, seconds in costs)
        sources: tuple[AnswerSource, ...] = ("found",) if examples == own else ("found", "own")
        settings = [
            AdapterSetting(answers=source, learning_rate=rounded(rate * relative))
            for relative in RELATIVE_RATES
            for source in sources
        ]
        training = Training(
            parent=parent,
            reference=reference,
            items=len({example.item for example in examples}),
            examples=len(examples),
            steps=1,
            budget=budget,
            share=share,
            last=last,
            settings=tuple(settings[: self.n]),
        )
        if not examples:
            return training.failed(NOTHING_TO_LEARN)
        course = Course(steps=PROBE_STEPS, learning_rate=rate, batch_size=BATCH_SIZE)
        try:
            step_seconds = median(trainer.kind.train_lora(start, examples, course)[1:])
        except (KingyoError, RuntimeError) as error:
            return training.failed(str(error))
        pass_steps, total_steps = -(-len(examples) // BATCH_SIZE), int(budget / step_seconds)
        n = max(1, min(len(training.settings), total_steps // (MIN_PASSES * pass_steps)))
        steps = max(1, min(MAX_PASSES * pass_steps, total_steps // n))
        return replace(training, settings=training.settings[:n], steps=steps)
