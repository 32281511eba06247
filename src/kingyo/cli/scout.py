"""The command ``scout``."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AllowPickle, AsJson
from kingyo.cli.scout_choice import check_task, choose_for_task, measure, plan_choice, read
from kingyo.errors import KingyoError

TaskOption = Annotated[
    Path | None,
    typer.Option("--task", metavar="TASK.yaml", help="Begin a run that chooses sources for this task."),
]


class Licences(StrEnum):
    """Which licences a candidate may have."""

    ANY = "any"
    STRICT = "strict"


def _number(value: float | None) -> float | None:
    """Refuse nan, which is within all bounds."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is not a number.")
    return value


CANDIDATES = 400
"""Candidates of the search that follows a choice."""
NEED_TASK = ("seed", "min_gain", "most", "max_size", "budget", "minutes", "frame", "dry_run")
NEED_WEIGHTS = ("out", "max_bytes")


def scout(
    context: typer.Context,
    where: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHERE...",
            help="Folders with models, names on the Hub, and lists of them (@list.txt, one name per line).",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="The only base. Default: each that a candidate names.")
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option("--hub", help="Also models of the Hub with a tag: base_model:finetune:org/name."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most models of each --hub.")] = 100,
    licences: Annotated[
        Licences, typer.Option("--licences", help="strict: exclude models with an unknown licence.")
    ] = Licences.ANY,
    task: TaskOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the items of trial merges.")] = 0,
    min_gain: Annotated[
        float,
        typer.Option(
            "--min-gain",
            min=0,
            max=1,
            callback=_number,
            help="Least gain in mean score of a further source.",
        ),
    ] = 0.01,
    most: Annotated[int | None, typer.Option("--most", min=1, max=100_000, help="Most sources.")] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="Most bytes of all chosen sources, such as 30GB.")
    ] = None,
    budget: Annotated[int | None, typer.Option("--budget", min=1, help="Most answers to grade.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.01, max=1e7, callback=_number, help="Most minutes to score."),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option("--frame", help="Candidate whose vision all merges have. Default: the first that sees."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --task: say what would be read and scored, and stop.")
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also read the weights of each group, and tell how they differ.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder of what is measured, and of the run.")] = Path(
        "runs/scout"
    ),
    max_bytes: Annotated[
        str, typer.Option("--max-bytes", help="Most bytes of weights to read for a group, such as 20GB.")
    ] = "20GB",
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """List models by their headers and cards: which can be merged together, and why the others cannot.

    With --weights also: which are near-duplicates, hardly changed or far from
    the base. With --task also: which should be merged for a task, and how many.

    Example: `kingyo scout models/ org/name --task task.yaml`
    """
    from kingyo.scout.for_task import ScoutRequest, check_rest, no_models_error

    _require_used(context, has_task=task is not None, has_weights=weights)
    if not (where or hub):
        raise no_models_error((), ())
    wanted: dict[str, object] = {
        "where": where or [],
        "hub": hub or [],
        "limit": limit,
        "licences": str(licences),
        "min_gain": min_gain,
        "most": most,
        "max_size": max_size,
        "item_evaluations": budget,
        "minutes": minutes,
        "max_bytes": max_bytes,
    }
    data: dict[str, object] = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", out.resolve().name).strip("-._") or "scout",
        "seed": seed,
        **({} if base is None else {"base": base}),
        "sources": {"scout": {key: value for key, value in wanted.items() if value is not None}},
        **({} if frame is None else {"merge": {"frame": frame}}),
        **({"allow_pickle": True} if allow_pickle else {}),
        "budget": {"candidates": CANDIDATES},
        "controls": {"random": True, "grid": True, "random_sources": True},
    }
    request = ScoutRequest.of(data, Path(), out, is_command=True)
    _ = request.max_bytes, request.capacity
    if task is not None:
        check_task(task)  # before models are read
        request = replace(request, data={**data, "task": {"file": str(task)}})
        check_rest(request.data, Path())
        if dry_run:
            plan_choice(read(request, show=not as_json), request, as_json=as_json)
        else:
            choose_for_task(request, as_json=as_json)
        return
    found = read(request, show=not as_json)
    if weights:
        found = measure(found, request, show=not as_json)
    if as_json:
        print_json(found.to_json())
    if not found.n_mergeable:
        raise typer.Exit(1)


def _require_used(context: typer.Context, *, has_task: bool, has_weights: bool) -> None:
    """Check that no option is given that needs another one."""
    needs = {} if has_task else dict.fromkeys(NEED_TASK, "--task TASK.yaml")
    needs |= {} if has_task or has_weights else dict.fromkeys(NEED_WEIGHTS, "--weights or --task TASK.yaml")
    for name, needed in needs.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise KingyoError(
                f"--{name.replace('_', '-')}",
                expected=f"{needed} as well",
                received="neither" if " or " in needed else "none",
                remedy="Add it, or leave this option out, which has no effect without it.",
            )
