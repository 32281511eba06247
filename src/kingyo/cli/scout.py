"""The command ``scout``."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from kingyo.cli.options import AllowPickle, AsJson, declared
from kingyo.cli.output import echo, print_json
from kingyo.cli.progress import Counts
from kingyo.cli.run import interruptible
from kingyo.core.io.units import counted, size_text
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.scout import Catalogue
    from kingyo.scout.for_task import ScoutRequest

CANDIDATES = 400
"""Candidates of the search that follows a choice."""
PER_CANDIDATE = (130, 600)
"""Answers per candidate, with some room: 178 among 5 of the zoo, 277 to 348 among 18 of zoo/pool."""
NEED_TASK = ("seed", "min_gain", "most", "max_size", "item_evaluations", "minutes", "frame", "dry_run")
NEED_WEIGHTS = ("out", "max_bytes")
OUT = Path("runs/scout")


@declared(
    "kingyo.scout.for_task:ScoutedSources",
    *("hub", "limit", "licences", "min_gain", "most", "max_size", "item_evaluations", "minutes", "max_bytes"),
    item_evaluations={"names": ("--budget",)},
)
def scout(
    options: dict[str, Any],
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
    task: Annotated[
        Path | None,
        typer.Option("--task", metavar="TASK.yaml", help="Begin a run that chooses sources for this task."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the items of trial merges.")] = 0,
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
    out: Annotated[Path, typer.Option("--out", help="Folder of what is measured, and of the run.")] = OUT,
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """List models by their headers and cards: which can be merged together, and why the others cannot.

    With --weights also: which are near-duplicates, hardly changed or far from
    the base. With --task also: which should be merged for a task, and how many.

    Example: `kingyo scout models/ org/name --task task.yaml`
    """
    from kingyo.api.scouting import check_task, measure_candidates, read_candidates
    from kingyo.scout.for_task import ScoutedSources, ScoutRequest, check_rest, no_models_error

    defaults = ScoutedSources.model_fields
    given = {key for key, value in options.items() if value not in (defaults[key].default, [])}
    own = {"seed": seed != 0, "frame": frame is not None, "dry_run": dry_run, "out": out != OUT}
    _require_used(given | {key for key in own if own[key]}, has_task=task is not None, has_weights=weights)
    if not (where or options["hub"]):
        raise no_models_error((), ())
    data: dict[str, object] = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", out.resolve().name).strip("-._") or "scout",
        "seed": seed,
        **({} if base is None else {"base": base}),
        "sources": {"scout": {"where": where or [], **{key: options[key] for key in given}}},
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
            print_choice_plan(request, as_json=as_json)
        else:
            _choose(request, as_json=as_json)
        return
    show = _catalogue_shown(quiet=as_json)
    with keeping(out), Counts() as progress:
        found = read_candidates(request, progress)
        show(found)
        if weights:
            found = measure_candidates(found, request, progress)
            show(found)
    if as_json:
        print_json(found.to_json())
    if not found.n_mergeable:
        raise typer.Exit(1)


def _require_used(given: Collection[str], *, has_task: bool, has_weights: bool) -> None:
    """Check that no option is given that needs another one."""
    needs: dict[str, str] = {}
    if not has_task:
        needs |= dict.fromkeys(NEED_TASK, "--task TASK.yaml")
        if not has_weights:
            needs |= dict.fromkeys(NEED_WEIGHTS, "--weights or --task TASK.yaml")
    for name, needed in needs.items():
        if name in given:
            flag = "budget" if name == "item_evaluations" else name.replace("_", "-")
            received = "neither" if " or " in needed else "none"
            remedy = "Add it, or leave this option out, which has no effect without it."
            raise KingyoError(f"--{flag}", f"{needed} as well", received, remedy)


def keeping(out: Path) -> AbstractContextManager[None]:
    """Say after an interrupt where measurements are kept."""
    return interruptible(
        lambda: f"Interrupted. Rerun the command to continue; {out} keeps what was measured."
    )


def _catalogue_shown(*, quiet: bool) -> Callable[[Catalogue], None]:
    """Return what prints the tables of a catalogue, and when it is measured those of its structures."""

    from kingyo.cli.scout_tables import print_catalogue, print_structures

    stdout: TextIO = sys.stdout
    before: Catalogue | None = None

    def show(found: Catalogue) -> None:
        nonlocal before
        with redirect_stdout(stdout):  # graders may print meanwhile
            if quiet:
                return
            if before is None:
                print_catalogue(found)
            else:
                print_structures(found, before)
        before = found

    return show


def print_choice_plan(request: ScoutRequest, *, as_json: bool) -> None:
    """Print what a choice would read and score."""
    from kingyo.api.scouting import plan_choice, read_candidates
    from kingyo.runs.choice import answers_alone

    with interruptible(lambda: "Interrupted; nothing was written."), Counts() as progress:
        found = read_candidates(request, progress)
        _catalogue_shown(quiet=as_json)(found)
        with redirect_stdout(sys.stderr):
            candidates = plan_choice(found, request, progress)
    members, n_fit = candidates.group.members, len(candidates.run.items["fit"])
    n, most = len(members), request.wanted.item_evaluations or sys.maxsize
    low, high = (min(each * n, most) for each in PER_CANDIDATE)
    n_bytes = min(request.max_bytes, sum(each.facts.n_bytes or 0 for each in members))
    alone = answers_alone(n, n_fit)
    if as_json:
        plan = {"candidates": n, "fit_items": n_fit, "bytes": n_bytes}
        answers = {"answers_of_single_candidates": alone, "answers": [low, high]}
        print_json({**found.to_json(), "plan": {**plan, **answers}})
        return
    limits = f"{request.named('item_evaluations')} and minutes limit it."
    for line in (
        f"Task {candidates.run.task.name}: {counted(n_fit, 'fit item')}. "
        f"{counted(n, 'candidate')} for {candidates.group.base}.",
        f"The weights are read once, {size_text(n_bytes)} at most. Near-duplicates are then left out.",
        f"The base and each candidate alone: {alone:,} answers. The whole choice: about {low:,} to {high:,}; "
        f"{limits} The search is planned when sources are chosen.",
    ):
        echo(line)


def _choose(request: ScoutRequest, *, as_json: bool) -> None:
    """Choose sources for a task in a new run, or in the one of the same request, and print them."""
    from kingyo.api.runs import choose
    from kingyo.api.scouting import begin_choice, find_candidates
    from kingyo.cli.advice import warn
    from kingyo.cli.live_display import LiveDisplay
    from kingyo.cli.scout_tables import print_choice
    from kingyo.runs.choice import CHOSEN, is_choosing

    show, command = _catalogue_shown(quiet=as_json), shlex.join(("kingyo", *sys.argv[1:]))
    with redirect_stdout(sys.stderr), keeping(request.out), Counts(quiet=as_json) as progress:
        candidates = find_candidates(request, progress, show)
        run = begin_choice(candidates)
    with run:
        if is_choosing(run.begun):
            with (
                redirect_stdout(sys.stderr),
                interruptible(lambda: f"Interrupted; continue with: {command}"),
                LiveDisplay(quiet=as_json) as display,
            ):
                display.begin(run.begun)
                choose(run, display)
        choice = run.begun.fact(CHOSEN)
        assert choice is not None, "the choice is made"
    for each in candidates.licence_warnings(choice):
        warn(each)
    if as_json:
        print_json({"choice": choice.to_json(), "not_tried": dict(candidates.left_out)})
        return
    print_choice(choice)
    echo(f"Next: `kingyo resume {shlex.quote(str(request.out))}` breeds a model from them.")
