"""The control ``trained``: a LoRA trained on fit for as long as the main search took, or a share of it.

Its candidates differ in learning rate and in the answers that they learn. Each is the best parent on fit with
an adapter. The number of steps is fixed once, from measured time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from kingyo.checkpoints.model_reference import parse_reference
from kingyo.errors import KingyoError
from kingyo.evolution import Event, stored_objectives
from kingyo.models.kinds import Course, Start
from kingyo.recipe import Recipe
from kingyo.run.adapters import (
    BATCH_SIZE,
    NOTHING_TO_LEARN,
    AdapterSetting,
    AdapterTrainer,
    AnswerSource,
    Training,
    best_parent,
    read_training,
    rounded,
    settings_axis,
    training_fact,
    usual_rate,
)
from kingyo.run.setup import use_threads
from kingyo.space import SourceSpace, parent_recipe
from kingyo.store import RunStore
from kingyo.tasks import build_tasks, set_measures_of
from kingyo.types import Axis, Example, Genome

RELATIVE_RATES = (1.0, 3.0, 0.3, 0.1)
"""Learning rates relative to ``usual_rate``."""
MAX_SETTINGS = 4
PROBE_STEPS = 5
"""Steps that measure the time of a step; the first is slow and does not count."""
MIN_PASSES, MAX_PASSES = 4, 50
"""Passes over the examples per setting. If time is short, there are fewer settings, not fewer passes."""


@dataclass(kw_only=True)
class TrainedSpace(SourceSpace):
    """Training settings as a space of one axis."""

    trainer: AdapterTrainer
    _references: tuple[str, ...] = field(default=(), init=False)

    @property
    def axes(self) -> Sequence[Axis]:
        """One axis with at most one setting per finalist, because fit cannot rank models trained on it."""
        return (settings_axis(max(1, min(MAX_SETTINGS, self.trainer.config.finalists))),)

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a setting; if time was too short for all settings, the first ones repeat.

        Before the training it is the recipe of a model without a LoRA.
        """
        trainer = self.trainer
        references = self._references or (trainer.models.skeleton.reference,)
        return parent_recipe(references[int(genome[0]) % len(references)], trainer.config.merge.dtype)

    def prepare(self, store: RunStore, notify: Callable[[Event], None]) -> None:
        use_threads(store)
        trainer = self.trainer
        training = read_training(store, trainer.name)
        if training is None:
            training = self._plan(store)
            store.set_fact(training_fact(trainer.name), training)
        self._references = trainer.references(store.folder, training)
        trainer.train_missing(store, training, trainer.start_of(training.parent), notify)

    def _plan(self, store: RunStore) -> Training:
        """Choose parent, examples and settings, and measure how many steps fit the budget."""
        trainer = self.trainer
        task = build_tasks(trainer.config.specs, store.items(), trainer.folder)
        objectives = stored_objectives(store).with_set_measures(set_measures_of(task))
        parent = str(best_parent(store, list(trainer.models.named), objectives).name)
        start, last = trainer.start_of(parent), trainer.last_trial(store)
        examples, own = (trainer.examples(store, start, source, last) for source in ("found", "own"))
        rate = usual_rate(trainer.models.named[parent].config)
        share = float(trainer.config.controls.trained or 1.0)
        training = Training(
            parent=parent,
            reference=str(parse_reference(trainer.models.named[parent].reference, trainer.folder).base),
            items=len({example.item for example in examples}),
            examples=len(examples),
            steps=1,
            budget=share
            * sum(seconds for name in trainer.taught_by for _, seconds in store.costs(name, "fit").values()),
            share=share,
            last=last,
            settings=_settings(len(self.axes[0].choices), rate, is_one_source=examples == own),
        )
        if not examples:
            return training.failed(NOTHING_TO_LEARN)
        try:
            step_seconds = self._step_seconds(start, examples, rate)
        except (KingyoError, RuntimeError) as error:
            return training.failed(str(error))
        return _within_budget(training, step_seconds)

    def _step_seconds(self, start: Start, examples: Sequence[Example], rate: float) -> float:
        course = Course(steps=PROBE_STEPS, learning_rate=rate, batch_size=BATCH_SIZE)
        return median(self.trainer.kind.train_lora(start, examples, course)[1:])


def _within_budget(training: Training, step_seconds: float) -> Training:
    assert training.budget is not None, "the control has a budget"
    pass_steps, total_steps = -(-training.examples // BATCH_SIZE), int(training.budget / step_seconds)
    n = max(1, min(len(training.settings), total_steps // (MIN_PASSES * pass_steps)))
    steps = max(1, min(MAX_PASSES * pass_steps, total_steps // n))
    return replace(training, settings=training.settings[:n], steps=steps)


def _settings(n: int, rate: float, *, is_one_source: bool) -> tuple[AdapterSetting, ...]:
    sources: tuple[AnswerSource, ...] = ("found",) if is_one_source else ("found", "own")
    rates = [rounded(rate * relative) for relative in RELATIVE_RATES]
    settings = [AdapterSetting(answers=source, learning_rate=rate) for rate in rates for source in sources]
    return tuple(settings[:n])
