"""The control ``trained``: a LoRA trained on fit for as long as the main search took, or a share of it.

Its candidates differ in learning rate and in the answers that they learn. Each is the best parent on fit with
an adapter. The number of steps is fixed once, from measured time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from kingyo.core.types import Example
from kingyo.errors import KingyoError
from kingyo.models.kinds import Course, Start
from kingyo.runs.adapters import (
    BATCH_SIZE,
    NOTHING_TO_LEARN,
    AdapterSetting,
    AdapterSpace,
    AdapterTrainer,
    AnswerSource,
    Training,
    rounded,
    usual_rate,
)
from kingyo.search.space import parent_recipe
from kingyo.store import RunStore

RELATIVE_RATES = (1.0, 3.0, 0.3, 0.1)
"""Learning rates relative to ``usual_rate``."""
MAX_SETTINGS = 4
PROBE_STEPS = 5
"""Steps that measure the time of a step; the first is slow and does not count."""
MIN_PASSES, MAX_PASSES = 4, 50
"""Passes over the examples per setting. If time is short, there are fewer settings, not fewer passes."""


def trained_space(trainer: AdapterTrainer) -> TrainedSpace:
    """Return at most one setting per finalist, because fit cannot rank models trained on it."""
    run = trainer.run
    n = max(1, min(MAX_SETTINGS, run.config.finalists))
    unprepared = parent_recipe(run.models.skeleton.reference, run.config.merge.dtype)
    return TrainedSpace(trainer=trainer, n=n, unprepared=unprepared)


class TrainedSpace(AdapterSpace):
    """LoRAs on the best parent, for as long as the main search took."""

    def plan(self, store: RunStore) -> Training:
        trainer, (trial, reference) = self.trainer, self.best_parent(store)
        parent = str(trial.name)
        start, last = trainer.start_of(parent), trainer.last_trial(store)
        examples, own = (trainer.examples(store, start, source, last) for source in ("found", "own"))
        rate = usual_rate(trainer.run.models.named[parent].config)
        share = float(trainer.run.config.controls.trained or 1.0)
        costs = (cost for name in trainer.taught_by for cost in store.costs(name, "fit").values())
        training = Training(
            parent=parent,
            reference=reference,
            items=len({example.item for example in examples}),
            examples=len(examples),
            steps=1,
            budget=share * sum(seconds for _, seconds in costs),
            share=share,
            last=last,
            settings=_settings(self.n, rate, is_one_source=examples == own),
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
