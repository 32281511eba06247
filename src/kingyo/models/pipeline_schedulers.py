"""Schedulers of diffusion pipelines with other settings, for a live pipeline and for an export."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from kingyo.errors import KingyoError, suggest
from kingyo.io.pipeline_index import PIPELINE
from kingyo.io.quiet import quiet
from kingyo.models.loading import loading
from kingyo.models.pipeline_loading import read_index


def scheduler_for(own: Any, changes: Mapping[str, object]) -> Any:
    """Return a scheduler with the config of a pipeline's own and changes; ``class`` names another class.

    Raises:
        KingyoError: diffusers has no such scheduler, or the scheduler has no such setting.
    """
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    name = str(changes.get("class", type(own).__name__))
    kind = cast(object, getattr(diffusers, name, None))
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        names = [each for each in dir(diffusers) if each.endswith("Scheduler")]
        raise KingyoError(
            "scheduler: class",
            expected="a scheduler of diffusers",
            received=f"'{name}'",
            remedy=suggest(name, names),
        )
    settings = {key: value for key, value in changes.items() if key != "class"}
    known = inspect.signature(kind.__init__).parameters
    for key, value in settings.items():
        if key not in known:
            raise KingyoError(
                f"scheduler: {key}",
                expected=f"a setting of {name}",
                received=repr(value)[:80],
                remedy=suggest(key, known.keys() - {"self", "kwargs"}),
            )
    with quiet("diffusers"):
        return cast("Any", kind).from_config(own.config, **settings)


def scheduler_files(root: Path, changes: Mapping[str, object]) -> dict[str, str]:
    """Return the scheduler's config and the index of a pipeline, after changes; see ``scheduler_for``."""
    import diffusers

    index = dict(read_index(root))
    with loading(root / "scheduler", "diffusers"):
        own = getattr(diffusers, index["scheduler"][1]).from_pretrained(root / "scheduler")
    scheduler = scheduler_for(own, changes)
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    return {
        PIPELINE: json.dumps(index, indent=2) + "\n",
        "scheduler/scheduler_config.json": scheduler.to_json_string(),
    }
