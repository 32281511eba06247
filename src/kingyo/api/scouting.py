"""List models that can be merged, and choose the sources of a run among them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from kingyo.api.options import AnyPath, as_path, as_reference, checked, takes
from kingyo.api.progress import SILENT, Progress
from kingyo.errors import attempt
from kingyo.scout import Catalogue, Rules, catalogue, find_places
from kingyo.scout.chosen_sources import request_of, with_sources
from kingyo.scout.task_candidates import ScoutRequest, TaskCandidates, measured


@takes(Rules)
def scout_models(
    where: AnyPath | Sequence[AnyPath],
    *,
    base: AnyPath | None = None,
    hub: Sequence[str] = (),
    limit: int = 100,
    out: AnyPath | None = None,
    progress: Progress | None = None,
    **options: object,
) -> Catalogue:
    """List models, and tell which can be merged together and why the others cannot.

    Args:
        where: folders with models, names on the Hub, and lists of them such as "@list.txt".
        base: the only base. Default: each that a candidate names.
        hub: also models of the Hub with these tags.
        limit: most models of each tag.
        out: the folder that keeps what is measured of the weights: at most 20 GB of each group are read.
            Default: only headers and cards are read.
        progress: sees the bytes that are read.
        options: see below.

    Raises:
        KingyoError: a list, the base or the weights cannot be read.
    """
    several = where if isinstance(where, Sequence) and not isinstance(where, str) else [where]
    named = [as_reference("where", each) for each in several]
    rules, like = checked(Rules, options), None if base is None else as_reference("base", base)
    found = catalogue(find_places(named, hub, limit), like, rules)
    if out is None:
        return found
    request = ScoutRequest(where=named, rules=rules, out=as_path("out", out))
    return _measured(found, request, progress or SILENT)


def _measured(found: Catalogue, request: ScoutRequest, progress: Progress) -> Catalogue:
    return measured(found, request, lambda done, total: progress.count("measuring", done, total, "bytes"))


def with_chosen_sources(
    data: Mapping[str, object], folder: Path, run: Path, progress: Progress
) -> Mapping[str, object]:
    """Return a run.yaml with the sources that its scout chooses."""
    from kingyo.report.scout_page import write_scout_report

    wanted = request_of(data, folder, run)
    found = catalogue(find_places(wanted.where, wanted.hub, wanted.limit), wanted.base, wanted.rules)
    TaskCandidates.planned(found, wanted)
    found = _measured(found, wanted, progress)
    candidates = TaskCandidates.open(found, wanted)
    choice = candidates.choose(lambda event, _: progress.notify(event))
    for each in candidates.licence_warnings(choice):
        warnings.warn(str(each), stacklevel=3)
    attempt(
        lambda: write_scout_report(found, candidates.tried.group, choice, wanted.out),
        lambda error: warnings.warn(str(error), stacklevel=3),
        None,
    )
    return with_sources(data, candidates, choice)
