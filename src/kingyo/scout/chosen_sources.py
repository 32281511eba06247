"""A run.yaml whose sources a scout chooses: ``sources: {scout: WHERE}``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from kingyo.errors import KingyoError
from kingyo.io.model_names import is_local, local_path
from kingyo.io.schema import Real, parse_model
from kingyo.methods import METHODS
from kingyo.run.config import RANDOM_SOURCES, Count, RunConfig, StrictModel
from kingyo.run.config_file import BY_SCOUT, config_from_data
from kingyo.run.settings import settings_of
from kingyo.scout.choice import ChoiceLimits, ChosenSources
from kingyo.scout.places import is_model
from kingyo.scout.suggestion import decided, drawn
from kingyo.scout.task_candidates import ScoutRequest, TaskCandidates
from kingyo.scout.verdict import Rules
from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import MAX_SIZE

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
MAX_MINUTES = 1e7
"""Most minutes of a choice, also in ``kingyo scout``; guards against typing errors that overflow."""


class ScoutedSources(StrictModel):
    """The value of ``sources.scout``: where to look, and limits of the choice."""

    where: Annotated[list[str], Field(min_length=1)]
    hub: tuple[str, ...] = ()
    limit: Count = 100
    min_gain: Annotated[Real, Field(ge=0, le=1)] = 0.01
    most: Annotated[Count, Field(le=MAX_SIZE)] | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0, le=MAX_MINUTES)] | None = None


def require_alone(sources: Mapping[str, object], folder: Path) -> None:
    """Check that ``scout`` among other sources is a model, not a place where a scout should look.

    Raises:
        KingyoError: it is a list of names, settings of a scout, or a folder or file that is no model.
    """
    others = [str(name) for name in sources if name != BY_SCOUT]
    if others and BY_SCOUT in sources and not _may_be_model(sources[BY_SCOUT], folder):
        raise KingyoError(
            "sources.scout",
            expected="no other sources, because the scout chooses all of them",
            received=", ".join(others),
            remedy="Move them into sources.scout.where, or write a model at sources.scout.",
        )


def _may_be_model(source: object, folder: Path) -> bool:
    if not isinstance(source, str) or source.startswith("@"):
        return False
    place = local_path(source, folder)
    return is_model(place) if place.is_dir() else place.suffix != ".txt"


def check_rest(data: Mapping[str, object], folder: Path, where: str = "config") -> RunConfig:
    """Check a run.yaml whose sources are not chosen yet; the config that is returned has made-up ones.

    Raises:
        KingyoError: keys, names or types are wrong. What depends on the sources is checked later.
    """
    controls, paths = _section(data, "controls"), _section(data, "dataflow")
    found: dict[str, object] = {"sources": {"a": "a", "b": "b"}, "merge": {"method": "task_arithmetic"}}
    if controls.get(RANDOM_SOURCES) is True:
        found["controls"] = {**controls, RANDOM_SOURCES: {}}
    if isinstance(paths.get("frame"), str):
        found["dataflow"] = {**paths, "frame": "a"}
    config = config_from_data(_filled(data, found), folder, where)
    settings = settings_of(config)
    for method in settings.controls.methods:
        METHODS.get(method, folder)
    STRATEGIES.get(settings.first.strategy, folder)
    return config


def request_of(data: Mapping[str, object], folder: Path, run: Path) -> ScoutRequest:
    """Return the request in a run.yaml with ``sources: {scout: WHERE}``; measurements go to ``NAME-scout``.

    Args:
        data: the run.yaml, whose sources are ``{scout: WHERE}``.
        folder: base of its relative paths.
        run: the run folder.

    Raises:
        KingyoError: wrong keys, or the run folder is the root.
    """
    asked, base = cast("dict[str, object]", data["sources"])[BY_SCOUT], data.get("base")
    seed, frame = data.get("seed"), _section(data, "merge").get("frame")
    if not isinstance(asked, dict):
        asked = {"where": [asked] if isinstance(asked, str) else asked}
    wanted = parse_model(ScoutedSources, cast("dict[str, object]", asked), "sources.scout")
    if isinstance(base, str) and is_local(base, folder):
        base = os.path.normpath(local_path(base, folder))
    return ScoutRequest(
        where=[_from(folder, each) for each in wanted.where],
        hub=wanted.hub,
        limit=wanted.limit,
        base=base if isinstance(base, str) else None,
        rules=Rules(allow_pickle=data.get("allow_pickle") is True),
        out=_beside(run),
        given={key: data[key] for key in KEPT if key in data},
        folder=folder,
        seed=seed if isinstance(seed, int) else 0,
        frame=frame if isinstance(frame, str) else None,
        limits=ChoiceLimits(
            min_gain=float(wanted.min_gain),
            most=wanted.most,
            item_evaluations=wanted.item_evaluations,
            seconds=None if wanted.minutes is None else 60 * float(wanted.minutes),
        ),
        argument="sources.scout",
    )


def _from(folder: Path, place: str) -> str:
    """Return where a scout looks from the working directory; names on the Hub stay."""
    if place.startswith("@"):
        return f"@{os.path.normpath(local_path(place[1:], folder))}"
    return os.path.normpath(local_path(place, folder)) if is_local(place, folder) else place


def _beside(run: Path) -> Path:
    """Return the scout's folder of a run folder, which may be written as ``.`` or ``..``."""
    named = run if run.name not in ("", "..") else run.resolve()
    if not named.name:
        raise KingyoError(
            str(run),
            expected="a run folder",
            received="the root of the file system",
            remedy="Choose another run folder (--run).",
        )
    return named.with_name(f"{named.name}-scout")


def with_sources(
    data: Mapping[str, object], candidates: TaskCandidates, choice: ChosenSources
) -> dict[str, object]:
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
    folder = candidates.request.folder
    found, controls = decided(candidates, choice, folder), _section(data, "controls")
    if controls.get(RANDOM_SOURCES) is True:
        found["controls"] = {**controls, RANDOM_SOURCES: drawn(candidates, choice, folder)}
    own = _section(data, "merge")
    framed = {"merge": {**own, "frame": choice.frame}} if choice.frame is not None and own else {}
    return {**_filled(data, found), **framed}


def _filled(data: Mapping[str, object], found: Mapping[str, object]) -> dict[str, object]:
    """Return a run.yaml with what was found; its own merge stays, and a search of paths needs none."""
    kept = {"merge"} if "merge" in data or data.get("space") == "dataflow" else set[str]()
    return {**data, **{key: value for key, value in found.items() if key not in kept}}


def _section(data: Mapping[str, object], key: str) -> dict[str, object]:
    """Return a section of a run.yaml; empty if there is none."""
    section = data.get(key)
    return cast("dict[str, object]", section) if isinstance(section, dict) else {}
