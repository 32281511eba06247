"""Schedulers of diffusion pipelines with other settings, for a live pipeline and for an export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from warnings import catch_warnings

from kingyo.errors import KingyoError, suggest
from kingyo.io.extras import library, quiet
from kingyo.io.pipeline_index import PIPELINE
from kingyo.models.loading import loading
from kingyo.models.pipeline_arguments import named_parameters, require_parameters
from kingyo.models.pipeline_loading import read_index

_LARGEST = 1_000_000
"""Limit of numbers, since schedulers allocate memory for each training step."""


def load_scheduler(root: Path) -> Any:
    """Load the scheduler of a pipeline.

    Raises:
        KingyoError: diffusers cannot load it.
    """
    diffusers = library(str(root), "diffusers")
    with loading(root / "scheduler", "diffusers"):
        return getattr(diffusers, read_index(root)["scheduler"][1]).from_pretrained(root / "scheduler")


def scheduler_for(own: Any, changes: Mapping[str, object]) -> Any:
    """Return a scheduler with the config of a pipeline's own and changes; ``class`` names another class.

    Raises:
        KingyoError: diffusers has no such scheduler, or the scheduler does not accept such settings.
    """
    name = str(changes.get("class", type(own).__name__))
    kind = _scheduler_class(name)
    settings = {key: value for key, value in changes.items() if key != "class"}
    _require_settings(kind, settings)
    try:
        with quiet("diffusers"):
            return kind.from_config(own.config, **settings)
    except Exception as error:  # schedulers compute with settings that they do not check
        raise _refused(name, error) from error


def rehearse(own: Any, changes: Mapping[str, object], steps: int) -> None:
    """Build a scheduler as ``scheduler_for`` does, and take one step: some settings are read only there.

    A scheduler that cannot take this step without the settings either needs more of its pipeline, and passes.

    Raises:
        KingyoError: the scheduler does not accept the settings.
    """
    scheduler = scheduler_for(own, changes)
    name = type(scheduler).__name__
    error = _failure(scheduler, steps)
    if error is not None and _failure(scheduler_for(own, {"class": name}), steps) is None:
        raise _refused(name, error) from error


def _failure(scheduler: Any, steps: int) -> Exception | None:
    """Take the first of some steps on zeros, and return what the scheduler raises."""
    import torch

    shift = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    nothing = torch.zeros(1, 4, 8, 8)
    try:
        with (
            quiet("diffusers"),
            catch_warnings(action="ignore"),
            torch.random.fork_rng(devices=[]),  # pyright: ignore[reportUnknownMemberType]
        ):
            scheduler.set_timesteps(steps, **shift)
            scheduler.step(nothing, scheduler.timesteps[0], nothing)
    except Exception as error:  # noqa: BLE001 (see scheduler_for)
        return error
    return None


def _refused(name: str, error: Exception) -> KingyoError:
    return KingyoError(
        "scheduler",
        expected=f"settings that {name} accepts",
        received=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300],
        remedy="Correct `scheduler` of the task.",
    )


def _scheduler_class(name: str) -> Any:
    """Return a scheduler's class; diffusers has placeholders for those whose library is missing."""
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    kind = cast(object, getattr(diffusers, name, None))
    if isinstance(kind, type) and issubclass(kind, SchedulerMixin) and hasattr(kind, "from_config"):
        return kind
    needed = cast("list[str]", getattr(cast(object, kind), "_backends", []))
    names = [each for each in dir(diffusers) if each.endswith("Scheduler")]
    raise KingyoError(
        "scheduler: class",
        expected="a scheduler of diffusers",
        received=f"'{name}'" + (f", which needs {' and '.join(needed)}" if needed else ""),
        remedy="Install what it needs, or name another scheduler." if needed else suggest(name, names),
    )


def _require_settings(kind: Any, settings: Mapping[str, object]) -> None:
    """Check the names of a scheduler's settings, and the size of numbers."""
    known = named_parameters(kind.__init__)
    require_parameters(settings, known, f"a setting of {kind.__name__}", "scheduler: ")
    for key, value in settings.items():
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise KingyoError(
                f"scheduler: {key}",
                expected=f"a number up to {_LARGEST:,}",
                received=f"{value:,}",
                remedy="Write a smaller number.",
            )


def scheduler_files(root: Path, changes: Mapping[str, object]) -> dict[str, str]:
    """Return the scheduler's config and the index of a pipeline, after changes; see ``scheduler_for``."""
    index, scheduler = dict(read_index(root)), scheduler_for(load_scheduler(root), changes)
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    return {
        PIPELINE: json.dumps(index, indent=2) + "\n",
        "scheduler/scheduler_config.json": scheduler.to_json_string(),
    }
