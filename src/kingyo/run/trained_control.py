"""The control ``trained``: a LoRA that is trained on the fit items for as long as the main search took.

Its candidates differ in learning rate and in the answers that they learn. Each is the best parent on fit with
an adapter in the run folder. The fact ``trained`` holds the plan and its results. The number of steps is
fixed once, from measured time, so an interrupted run continues with it and trains unfinished adapters anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.adapter import CONFIG, WEIGHTS
from kingyo.errors import KingyoError
from kingyo.io.schema import parse_settings
from kingyo.io.units import counted
from kingyo.models.kinds import ModelKind, TrainsLora, require_ability
from kingyo.run.config import TRAINED
from kingyo.run.stored_config import stored_config
from kingyo.store import RunStore

BATCH_SIZE = 8

AnswerSource = Literal["found", "own"]
"""Preferred answers: correct ones that models of the run gave, or those of the items."""


@dataclass(frozen=True, kw_only=True)
class AdapterSetting:
    """Settings of one adapter, and the result of its training.

    Attributes:
        answers: source of the learned answers.
        learning_rate: maximum.
        seconds: duration of all steps; None before the training.
        digest: hash of the adapter's files.
        failure: why the training failed, or None.
    """

    answers: AnswerSource
    learning_rate: float
    seconds: float | None = None
    digest: str | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedControl:
    """Plan and results of the control.

    Attributes:
        parent: name of the model that it starts from.
        reference: reference of this model, without its LoRA.
        items: number of fit items with an answer to learn.
        examples: number of learned answers.
        steps: per setting.
        budget: seconds that the main search took, shared by all settings.
        last: last trial id whose answers may be learned.
        settings: one per candidate.
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
    """Return a kind of model that can train a LoRA.

    Raises:
        KingyoError: it cannot.
    """
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

    Args:
        run: run folder.
        folder: start of the run's relative paths.
        reference: as in recipes of the run.

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
