"""The steps of ``kingyo scout``, and of a run.yaml whose sources a scout chooses."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from kingyo.cli.as_json import print_json
from kingyo.cli.console import Console, print_text
from kingyo.cli.run import interruptible
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.units import counted, size_text

if TYPE_CHECKING:
    from kingyo.run.run import Run
    from kingyo.scout import Catalogue
    from kingyo.scout.for_task import ScoutRequest, TaskCandidates

PER_CANDIDATE = (130, 600)
"""Answers per candidate, with some room: 178 among 5 of the zoo, 277 to 348 among 18 of zoo/pool."""


def read(request: ScoutRequest, *, show: bool) -> Catalogue:
    """Read the headers and cards of all candidates, and print them."""
    from kingyo.cli.scout_progress import advancing
    from kingyo.cli.scout_tables import print_catalogue

    with interruptible(lambda: "Interrupted; nothing was written."), advancing() as advance:
        found = request.read(advance, lambda text: echo(text, err=True))
    if show:
        print_catalogue(found)
    return found


def measure(found: Catalogue, request: ScoutRequest, *, show: bool) -> Catalogue:
    """Measure the weights of each group, and print what they show."""
    from kingyo.cli.scout_progress import advancing
    from kingyo.cli.structure_tables import print_structures

    with (
        interruptible(
            lambda: f"Interrupted; what was measured is in {request.out}. Continue with the same command."
        ),
        advancing() as advance,
    ):
        measured = request.measure(found, advance)
    if show:
        print_structures(measured, found)
    return measured


def find_candidates(request: ScoutRequest, *, quiet: bool, show: bool = False) -> TaskCandidates:
    """Read, check and measure the candidates of a run that chooses its sources."""
    from kingyo.cli.scout_tables import counts_text
    from kingyo.scout.for_task import TaskCandidates

    if not quiet:
        echo(f"Choosing sources; what is measured is kept in {request.out}.", err=True)
    found = read(request, show=show)
    check_choice(found, request)
    if not quiet and not show:
        echo(counts_text(found), err=True)
    found = measure(found, request, show=show)
    with redirect_stdout(sys.stderr):
        return TaskCandidates.open(found, request)


def check_choice(found: Catalogue, request: ScoutRequest) -> TaskCandidates:
    """Check the task and the limits of a choice before weights are read; note the groups not tried."""
    from kingyo.scout.for_task import TaskCandidates

    with redirect_stdout(sys.stderr):
        candidates = TaskCandidates.planned(found, request)
    others = [
        f"--base {shlex.quote(group.base)} ({len(group.members)})"
        for group in found.groups
        if group.base not in (None, candidates.group.base) and len(group.members) > 1
    ]
    if others:
        n, base = counted(len(candidates.group.members), "candidate"), candidates.group.base
        text = f"Note: groups cannot be mixed. The choice is among the {n} of the largest, for {base}."
        echo(f"{text} For another group: {', '.join(others)}.", err=True)
    return candidates


def plan_choice(found: Catalogue, request: ScoutRequest, *, as_json: bool) -> None:
    """Print what a choice would read and score."""
    from kingyo.run.choice import answers_alone

    candidates = check_choice(found, request)
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
        print_text(Console(highlight=False), escape(line))


@contextmanager
def run_of_choice(request: ScoutRequest, *, as_json: bool) -> Generator[tuple[Run, TaskCandidates]]:
    """Begin a run that chooses its sources, or open the one in its folder, which must be asked the same.

    Raises:
        KingyoError: the folder has another run.
    """
    from kingyo.evolution import BASELINES
    from kingyo.run.begin import choose_again
    from kingyo.run.choice import read_request
    from kingyo.run.run import Run
    from kingyo.store import DATABASE, RunStore

    candidates = find_candidates(request, quiet=as_json, show=not as_json)
    if not (request.out / DATABASE).exists():
        with redirect_stdout(sys.stderr):
            run = candidates.begin(request.out)
        with run:
            yield run, candidates
        return
    with RunStore.open(request.out) as store:
        stored, asked = read_request(store), candidates.choice_request()
        budget = {"item_evaluations": asked.item_evaluations, "seconds": asked.seconds}
        is_same = stored is not None and replace(stored, asked=asked.asked, **budget) == asked
        if not is_same or (stored != asked and BASELINES in store.searches()):
            raise KingyoError(
                str(request.out),
                expected="a run that chooses among the same candidates, within the same limits",
                received="another one",
                remedy="Choose another folder with --out.",
            )
        with redirect_stdout(sys.stderr):
            if stored != asked:
                choose_again(candidates.run, store, asked)
            yield Run.stored(store), candidates


def choose_for_task(request: ScoutRequest, *, as_json: bool) -> None:
    """Choose sources for a task in a new run, and print them."""
    from kingyo.cli.advice import warn
    from kingyo.cli.live_display import LiveDisplay, choose_shown
    from kingyo.cli.scout_tables import print_choice
    from kingyo.run.choice import is_choosing, read_choice

    command = shlex.join(("kingyo", *sys.argv[1:]))
    with run_of_choice(request, as_json=as_json) as (run, candidates):
        store = run.begun
        if is_choosing(store):
            with (
                redirect_stdout(sys.stderr),
                interruptible(lambda: f"Interrupted; continue with: {command}"),
                LiveDisplay(store, quiet=as_json) as display,
            ):
                choose_shown(run, display)
        choice = read_choice(store)
        assert choice is not None, "the choice is made"
    for each in candidates.licence_warnings(choice):
        warn(each)
    if as_json:
        print_json({"choice": choice.to_json(), "not_tried": dict(candidates.left_out)})
        return
    print_choice(choice)
    print_text(
        Console(highlight=False),
        escape(f"Next: `kingyo resume {shlex.quote(str(request.out))}` breeds a model from them."),
    )


def check_task(file: Path) -> None:
    """Read the data of a task and build its graders; an error names the file."""
    from kingyo.tasks import build_tasks, load_splits, load_task_spec

    spec = load_task_spec(file)
    try:
        build_tasks({spec.name: spec}, load_splits({spec.name: spec}, Path()).splits, Path())
    except KingyoError as error:
        raise error.placed(str(file)) from error
