"""A run.yaml whose sources a scout chooses: ``sources: {scout: WHERE}``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from kingyo.errors import KingyoError
from kingyo.io.model_names import is_local
from kingyo.io.schema import Real, parse_model
from kingyo.run.config import RANDOM_SOURCES, Count, StrictModel
from kingyo.run.config_file import BY_SCOUT
from kingyo.scout.choice import ChosenSources, Wishes
from kingyo.scout.contest import Contest, ScoutRequest
from kingyo.scout.suggestion import decided, drawn
from kingyo.scout.verdict import Rules

KEPT = (
    "task",
    "tasks",
    "kind",
    "allow_pickle",
    "batch_size",
    "device",
    "threads",
    "runner",
    "workers",
    "timeout",
)
"""Keys of a run.yaml that trial merges follow, too."""


class ScoutedSources(StrictModel):
    """The value of ``sources.scout``: where to look, and limits of the choice."""

    where: Annotated[list[str], Field(min_length=1)]
    hub: tuple[str, ...] = ()
    limit: Count = 100
    min_gain: Annotated[Real, Field(ge=0, le=1)] = 0.01
    most: Count | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0)] | None = None


def request_of(data: Mapping[str, object], folder: Path, run: Path) -> ScoutRequest:
    """Return the request in a run.yaml with ``sources: {scout: WHERE}``; measurements go to ``NAME-scout``.

    Args:
        data: the run.yaml, whose sources are ``{scout: WHERE}``.
        folder: base of its relative paths.
        run: the run folder.

    Raises:
        KingyoError: wrong keys.
    """
    asked, base = cast("dict[str, object]", data["sources"])[BY_SCOUT], data.get("base")
    seed, frame = data.get("seed"), _merge_of(data).get("frame")
    if not isinstance(asked, dict):
        asked = {"where": [asked] if isinstance(asked, str) else asked}
    wanted = parse_model(ScoutedSources, cast("dict[str, object]", asked), "sources.scout")
    if isinstance(base, str) and is_local(base, folder):
        base = os.path.normpath(folder / base)
    return ScoutRequest(
        where=[os.path.normpath(folder / each) if is_local(each, folder) else each for each in wanted.where],
        hub=wanted.hub,
        limit=wanted.limit,
        base=base if isinstance(base, str) else None,
        rules=Rules(allow_pickle=data.get("allow_pickle") is True),
        out=run.with_name(f"{run.name}-scout"),
        given={key: data[key] for key in KEPT if key in data},
        folder=folder,
        seed=seed if isinstance(seed, int) else 0,
        frame=frame if isinstance(frame, str) else None,
        wishes=Wishes(
            min_gain=float(wanted.min_gain),
            most=wanted.most,
            item_evaluations=wanted.item_evaluations,
            seconds=None if wanted.minutes is None else 60 * float(wanted.minutes),
        ),
        argument="sources.scout",
    )


def with_sources(data: Mapping[str, object], contest: Contest, choice: ChosenSources) -> dict[str, object]:
    """Return a run.yaml with the sources that a scout has chosen.

    Raises:
        KingyoError: no source is worth adding.
    """
    if not choice.chosen:
        raise KingyoError(
            "sources.scout",
            expected="a source that is worth merging",
            received="none: no candidate solves enough of the fit items",
            remedy="Name other candidates, or see docs/zero.md.",
        )
    folder = contest.request.folder
    found, controls = decided(contest, choice, folder), data.get("controls")
    if isinstance(controls, dict) and cast("dict[str, object]", controls).get(RANDOM_SOURCES) is True:
        found["controls"] = {**controls, RANDOM_SOURCES: drawn(contest, choice, folder)}
    merge = found.pop("merge")
    if choice.frame is not None and _merge_of(data):
        found["merge"] = {**_merge_of(data), "frame": choice.frame}
    return {"merge": merge, **data, **found}


def _merge_of(data: Mapping[str, object]) -> dict[str, object]:
    """Return ``merge`` of a run.yaml. The config checks it later."""
    merge = data.get("merge")
    return cast("dict[str, object]", merge) if isinstance(merge, dict) else {}
