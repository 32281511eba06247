"""A run.yaml whose sources a scout chooses: ``sources: {scout: WHERE}``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from kingyo.errors import KingyoError
from kingyo.evolution import Event
from kingyo.io.model_names import is_local
from kingyo.io.schema import Real, parse_model
from kingyo.run.config import Count, StrictModel
from kingyo.run.config_file import BY_SCOUT
from kingyo.run.run import Run
from kingyo.run.spaces import merged_layout
from kingyo.scout.catalogue import Group, catalogue
from kingyo.scout.choice import ChosenSources, Wishes, choose, config_for, names_of, trials_in
from kingyo.scout.contenders import contenders, evidence_of
from kingyo.scout.evidence import with_structures
from kingyo.scout.frame import frame_keys, sources_of_run
from kingyo.scout.places import find_places
from kingyo.scout.suggestion import groups_for, relative_to, start_of
from kingyo.scout.verdict import Rules
from kingyo.space.subsets import HIGHEST
from kingyo.store.evidence import EvidenceStore
from kingyo.strategies.stepwise import Step

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
MOST_BYTES = 20_000_000_000
"""Bytes of weights that are read for the evidence."""


class ScoutedSources(StrictModel):
    """The value of ``sources.scout``: where to look, and limits of the choice."""

    where: Annotated[list[str], Field(min_length=1)]
    hub: tuple[str, ...] = ()
    limit: Count = 100
    min_gain: Annotated[Real, Field(ge=0, le=1)] = 0.01
    most: Count | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Watching:
    """Callbacks that show the progress.

    Attributes:
        say: called with notes for the user.
        begin: called with the names of the sources; returns what is called with every event.
    """

    say: Callable[[str], None]
    begin: Callable[[Sequence[str]], Callable[[Event, Sequence[Step]], None]]


def with_chosen_sources(
    data: Mapping[str, object], folder: Path, out: Path, seed: int, watching: Watching
) -> dict[str, object]:
    """Return a run.yaml with the sources that a scout chooses, or continue a choice that was stopped.

    Args:
        data: the run.yaml, whose sources are ``{scout: WHERE}``.
        folder: base of its relative paths.
        out: the scout's folder.
        seed: draws the items of trial merges.
        watching: the progress.

    Raises:
        KingyoError: wrong keys, candidates or task; or no source is worth adding.
    """
    wanted = _wanted(data)
    group = _group(data, wanted, folder, out, watching)
    given = {key: data[key] for key in KEPT if key in data}
    moved = replace(
        group,
        base=relative_to(group.base or "", folder),
        members=tuple(replace(each, reference=relative_to(each.reference, folder)) for each in group.members),
    )
    run = Run.open(config_for(moved, given, folder, seed, _frame(data)), folder)
    seconds = None if wanted.minutes is None else 60 * float(wanted.minutes)
    wishes = Wishes(
        min_gain=float(wanted.min_gain),
        most=wanted.most,
        item_evaluations=wanted.item_evaluations,
        seconds=seconds,
    )
    evidence = evidence_of(group, names_of([each.reference for each in group.members]))
    trials = trials_in(out)
    choice = choose(run, trials, wishes, evidence, watching.begin(list(run.config.sources)))
    if not choice.chosen:
        raise KingyoError(
            "sources.scout",
            expected="a source that is worth merging",
            received="none: no candidate solves enough of the fit items",
            remedy="Name other candidates, or see docs/zero.md.",
        )
    default = {
        "method": "task_arithmetic",
        "groups": groups_for(len(choice.chosen), merged_layout(run)),
        "parameters": {"weight": {"from": 0, "to": HIGHEST, "start": start_of(choice)}},
        "dtype": "float32",
    }
    return {
        "merge": {**default, **frame_keys(choice)},
        **data,
        **_framed(data, choice),
        "base": run.config.base,
        "sources": {name: run.config.sources[name] for name in sources_of_run(choice)},
        "scout": os.path.relpath(trials.resolve(), folder.resolve()),
    }


def _frame(data: Mapping[str, object]) -> str | None:
    """Return the frame that a run.yaml names; what is wrong with its ``merge`` is told when all is read."""
    merge = data.get("merge")
    frame = cast("dict[str, object]", merge).get("frame") if isinstance(merge, dict) else None
    return frame if isinstance(frame, str) else None


def _framed(data: Mapping[str, object], choice: ChosenSources) -> dict[str, object]:
    """Return the user's ``merge``, if there is one, with the frame of the trial merges."""
    merge = data.get("merge")
    if choice.frame is None or not isinstance(merge, dict):
        return {}
    return {"merge": {**cast("dict[str, object]", merge), "frame": choice.frame}}


def _wanted(data: Mapping[str, object]) -> ScoutedSources:
    given = cast("dict[str, object]", data["sources"])[BY_SCOUT]
    if isinstance(given, dict):
        return parse_model(ScoutedSources, cast("dict[str, object]", given), "sources.scout")
    where = [given] if isinstance(given, str) else given
    return parse_model(ScoutedSources, {"where": where}, "sources.scout")


def _group(
    data: Mapping[str, object], wanted: ScoutedSources, folder: Path, out: Path, watching: Watching
) -> Group:
    """Return the group of the candidates to try, with references from the working directory."""
    where = [str(folder / each) if is_local(each, folder) else each for each in wanted.where]
    base = data.get("base")
    named = str(folder / base) if isinstance(base, str) and is_local(base, folder) else base
    places = find_places(where, wanted.hub, wanted.limit, watching.say)
    found = catalogue(places, named if isinstance(named, str) else None, Rules(), lambda _: None)
    with EvidenceStore(out) as store:
        found = with_structures(found, store, MOST_BYTES)
    return contenders(found, "sources.scout").group
