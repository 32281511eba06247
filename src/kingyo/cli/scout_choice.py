"""The steps of ``kingyo scout``, and of a run.yaml whose sources a scout chooses."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from kingyo.cli.as_json import print_json
from kingyo.cli.console import Console, print_text
from kingyo.cli.run import interruptible
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted, KingyoError, report_errors
from kingyo.io.units import counted, size_text

if TYPE_CHECKING:
    from kingyo.scout import Catalogue
    from kingyo.scout.choice import ChosenSources
    from kingyo.scout.task_candidates import ScoutRequest, TaskCandidates

PER_CANDIDATE = (130, 600)
"""Answers per candidate, with some room: 178 among 5 of the zoo, 277 to 348 among 18 of zoo/pool."""
AFTER_PLAN = {
    "--task": "--budget and --minutes limit it.",
    "sources.scout": "item_evaluations and minutes limit it. The search is planned when sources are chosen.",
}
"""Option or key that requests a choice -> last sentence of its plan."""


def read(request: ScoutRequest, *, show: bool) -> Catalogue:
    """Read the headers and cards of all candidates, and print them."""
    from kingyo.cli.scout_progress import counting
    from kingyo.cli.scout_tables import print_catalogue
    from kingyo.scout import catalogue, find_places

    try:
        places = find_places(request.where, request.hub, request.limit, lambda text: echo(text, err=True))
        if not places:
            raise _nothing(request)
        with counting(len(places)) as advance:
            found = catalogue(places, request.base, request.rules, advance)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; nothing was written.") from None
    if show:
        print_catalogue(found)
    return found


def _nothing(request: ScoutRequest) -> KingyoError:
    hub = request.named("--hub")
    named = ", ".join([*request.where, *(f"{hub} {query}" for query in request.hub)])
    return KingyoError(
        named or "WHERE",
        expected="models, adapters or diffusers pipelines",
        received="none" if named else "nothing",
        remedy=f"Name a folder with models at a depth of at most 3, models on the Hub, or a query of {hub}.",
    )


def measure(found: Catalogue, request: ScoutRequest, *, show: bool) -> Catalogue:
    """Measure the weights of each group, and print what they show."""
    from kingyo.cli.scout_progress import measuring
    from kingyo.cli.structure_tables import print_structures
    from kingyo.scout.task_candidates import measured

    try:
        with measuring() as advance:
            structured = measured(found, request, advance)
    except KeyboardInterrupt:
        kept = f"what was measured is in {request.out}"
        raise Interrupted(f"Interrupted; {kept}. Continue with the same command.") from None
    if show:
        print_structures(structured, found)
    return structured


def choose(
    found: Catalogue, request: ScoutRequest, *, quiet: bool
) -> tuple[TaskCandidates, ChosenSources, Path | None]:
    """Choose sources, and write a report if that is possible; return its path, too."""
    from kingyo.cli.advice import warn
    from kingyo.cli.scout_progress import ChoiceProgress
    from kingyo.report.scout_page import write_scout_report
    from kingyo.scout.task_candidates import TaskCandidates

    command = shlex.join(("kingyo", *sys.argv[1:]))
    with redirect_stdout(sys.stderr), interruptible(lambda: f"Interrupted; continue with: {command}"):
        candidates = TaskCandidates.open(found, request)
        _warn_of_few_items(len(candidates.run.items["fit"]))
        progress = ChoiceProgress(list(candidates.references), request.limits.min_gain, quiet=quiet)
        choice = candidates.choose(progress.notify)
        progress.show(choice.steps)
    for each in candidates.licence_warnings(choice):
        warn(each)
    group = candidates.tried.group
    return (
        candidates,
        choice,
        report_errors(lambda: write_scout_report(found, group, choice, request.out), warn, None),
    )


def _warn_of_few_items(n_fit: int) -> None:
    from kingyo.cli.advice import warn
    from kingyo.scout.choice import ITEMS

    if n_fit < 2 * ITEMS:
        expected = f"at least {2 * ITEMS} items to tell gains from luck"
        warn(
            KingyoError(
                "splits.fit", expected=expected, received=str(n_fit), remedy="Give the task more items."
            )
        )


def choose_for_task(found: Catalogue, request: ScoutRequest, task: Path, *, as_json: bool) -> None:
    """Choose sources for a task, write their run.yaml, and print them."""
    from kingyo.cli.scout_tables import print_choice
    from kingyo.scout.suggestion import write_run_yaml

    candidates, choice, page = choose(found, request, quiet=as_json)
    path = write_run_yaml(candidates, choice, task) if choice.chosen else None
    if not as_json:
        print_choice(choice, page)
        next_step = "No source is chosen, so there is no run.yaml."
        if path is not None:
            next_step = f"Wrote {path}. Next: kingyo evolve {shlex.quote(str(path))}"
        print_text(Console(highlight=False), escape(next_step))
        return
    made = {"choice": choice.to_json(), "not_tried": dict(candidates.tried.left_out)}
    print_json({**found.to_json(), **made, "report": None if page is None else str(page)})


def check_task(file: Path) -> None:
    """Read the data of a task and build its graders; an error names the file."""
    from kingyo.tasks import build_tasks, load_splits, load_task_spec

    spec = load_task_spec(file)
    try:
        build_tasks({spec.name: spec}, load_splits({spec.name: spec}, Path()).splits, Path())
    except KingyoError as error:
        raise error.placed(str(file)) from error


def check_choice(found: Catalogue, request: ScoutRequest) -> TaskCandidates:
    """Check the task and the limits of a choice before weights are read; note the groups not tried."""
    from kingyo.scout.task_candidates import TaskCandidates

    with redirect_stdout(sys.stderr):
        candidates = TaskCandidates.planned(found, request)
    chosen = candidates.tried.group.base
    others = [
        f"--base {shlex.quote(group.base)} ({len(group.members)})"
        for group in found.groups
        if group.base not in (None, chosen) and len(group.members) > 1
    ]
    if others:
        n = counted(len(candidates.references), "candidate")
        text = f"Note: groups cannot be mixed. The choice is among the {n} of the largest, for {chosen}."
        echo(f"{text} For another group: {', '.join(others)}.", err=True)
    return candidates


def plan_choice(found: Catalogue, request: ScoutRequest, *, as_json: bool) -> None:
    """Print what a choice would read and score."""
    from kingyo.scout.choice import answers_alone

    candidates = check_choice(found, request)
    n, n_fit = len(candidates.references), len(candidates.run.items["fit"])
    group, most = candidates.tried.group, request.limits.item_evaluations or sys.maxsize
    low, high = (min(each * n, most) for each in PER_CANDIDATE)
    n_bytes = min(request.max_bytes, sum(each.facts.n_bytes or 0 for each in group.members))
    alone = answers_alone(n, n_fit)
    if as_json:
        plan = {"candidates": n, "fit_items": n_fit, "bytes": n_bytes}
        answers = {"answers_of_single_candidates": alone, "answers": [low, high]}
        print_json({**found.to_json(), "plan": {**plan, **answers}})
        return
    lines = (
        f"Task {candidates.run.task.name}: {counted(n_fit, 'fit item')}. "
        f"{counted(n, 'candidate')} for {group.base}.",
        f"The weights are read once, {size_text(n_bytes)} at most. Near-duplicates are then left out.",
        f"The base and each candidate alone: {alone:,} answers. The whole choice: about {low:,} to {high:,}; "
        f"{AFTER_PLAN[request.argument]}",
    )
    for line in lines:
        print_text(Console(highlight=False), escape(line))


def choose_sources(
    data: dict[str, object], folder: Path, run: Path, *, dry_run: bool, as_json: bool
) -> dict[str, object]:
    """Return a run.yaml with the sources that a scout chooses, or print the plan and exit."""
    from kingyo.cli.scout_tables import counts_text, print_choice
    from kingyo.scout.chosen_sources import request_of, with_sources

    request = request_of(data, folder, run)
    if dry_run:
        plan_choice(read(request, show=not as_json), request, as_json=as_json)
        raise typer.Exit
    if not as_json:
        echo(f"Choosing sources; what is measured is kept in {request.out}.", err=True)
    found = read(request, show=False)
    check_choice(found, request)
    if not as_json:
        echo(counts_text(found), err=True)
    found = measure(found, request, show=False)
    candidates, choice, page = choose(found, request, quiet=as_json)
    if not as_json:
        print_choice(choice, page)
    return with_sources(data, candidates, choice)
