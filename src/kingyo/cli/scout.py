"""The command ``scout``."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from kingyo.cli.console import Console, print_lines, print_rows
from kingyo.cli.options import Between, declared
from kingyo.cli.output import echo, print_json
from kingyo.cli.progress import Counts
from kingyo.cli.run import interruptible
from kingyo.core.io.units import count_text, counted, percent, size_text

if TYPE_CHECKING:
    from kingyo.scout import Candidate, Catalogue
    from kingyo.scout.for_task import ScoutRequest

CANDIDATES = 400
"""Candidates of the search that follows a choice."""
OUT = Path("runs/scout")


@declared("kingyo.scout.for_task:ScoutedSources", without=("where",))
def scout(
    options: dict[str, Any],
    where: list[str],
    *,
    base: str | None = None,
    task: Path | None = None,
    seed: Annotated[int, Between(0)] = 0,
    frame: str | None = None,
    dry_run: bool = False,
    weights: bool = False,
    out: Path = OUT,
    allow_pickle: bool = False,
    as_json: bool = False,
) -> None:
    """List models by their headers and cards: which can be merged together, and why the others cannot.

    With --weights also: which are near-duplicates, hardly changed or far from
    the base. With --task also: which should be merged for a task, and how many.

    Example: `kingyo scout models/ org/name --task task.yaml`

    Args:
        where (WHERE...): folders with models, names on the Hub, and its tags (hub:TAG).
        base: the only base. Default: each that a candidate names.
        task (TASK.yaml): begin a run that chooses sources for this task.
        seed: draws the items of trial merges.
        frame: candidate whose vision all merges have. Default: the first that sees.
        dry_run: with --task: say what would be read and scored, and stop.
        weights: also read the weights of each group, and tell how they differ.
        out: folder of what is measured, and of the run.
    """
    from kingyo.api.scouting import check_task
    from kingyo.scout.for_task import ScoutedSources, ScoutRequest, check_rest

    defaults = ScoutedSources.model_fields
    given = {key for key, value in options.items() if value not in (defaults[key].default, [])}
    data: dict[str, object] = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", out.resolve().name).strip("-._") or "scout",
        "seed": seed,
        **({} if base is None else {"base": base}),
        "sources": {"scout": {"where": where, **{key: options[key] for key in given}}},
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
    show = _shown(quiet=as_json)
    with keeping(out), Counts() as progress:
        found = request.read(progress.count)
        show(found)
        if weights:
            found = request.measure(found, progress.count)
            show(found)
    if as_json:
        print_json(found.to_json())
    if not found.n_mergeable:
        sys.exit(1)


def keeping(out: Path) -> AbstractContextManager[None]:
    """Say after an interrupt where measurements are kept."""
    return interruptible(f"Interrupted. Rerun the command to continue; {out} keeps what was measured.")


def _shown(*, quiet: bool) -> Callable[[Catalogue], None]:
    stdout: TextIO = sys.stdout

    def show(found: Catalogue) -> None:
        with redirect_stdout(stdout):  # graders may print meanwhile
            if not quiet and any(group.structure is not None for group in found.groups):
                _print_structures(found)
            elif not quiet:
                _print_catalogue(found)

    return show


def print_choice_plan(request: ScoutRequest, *, as_json: bool) -> None:
    from kingyo.api.scouting import plan_choice
    from kingyo.runs.choice import answers_alone

    with interruptible("Interrupted; nothing was written."), Counts() as progress:
        found = request.read(progress.count)
        _shown(quiet=as_json)(found)
        with redirect_stdout(sys.stderr):
            candidates = plan_choice(found, request, progress)
    members, n_fit = candidates.group.members, len(candidates.run.items["fit"])
    n_bytes = min(request.max_bytes, sum(each.facts.n_bytes or 0 for each in members))
    alone = answers_alone(len(members), n_fit)
    if as_json:
        plan = {"candidates": len(members), "fit_items": n_fit, "bytes": n_bytes}
        print_json({**found.to_json(), "plan": {**plan, "answers_of_single_candidates": alone}})
        return
    echo(
        f"Task {candidates.run.task.name}: {counted(n_fit, 'fit item')}, "
        f"{counted(len(members), 'candidate')} for {candidates.group.base}. Weights are read once, "
        f"{size_text(n_bytes)} at most. The base and each candidate alone: {alone:,} answers; then trial "
        f"merges, until the choice is clear or {request.named('item_evaluations')} or minutes end it."
    )


def _choose(request: ScoutRequest, *, as_json: bool) -> None:
    from kingyo.api.runs import choose
    from kingyo.api.scouting import begin_choice, find_candidates
    from kingyo.cli.live_display import LiveDisplay
    from kingyo.runs.choice import CHOSEN, is_choosing
    from kingyo.views.choice import candidates_table, choice_statements

    show, command = _shown(quiet=as_json), shlex.join(("kingyo", *sys.argv[1:]))
    with redirect_stdout(sys.stderr), keeping(request.out), Counts(quiet=as_json) as progress:
        candidates = find_candidates(request, progress, show)
        run = begin_choice(candidates)
    with run:
        if is_choosing(run.begun):
            with (
                redirect_stdout(sys.stderr),
                interruptible(f"Interrupted; continue with: {command}"),
                LiveDisplay(quiet=as_json) as display,
            ):
                display.begin(run.begun)
                choose(run, display)
        choice = run.begun.fact(CHOSEN)
        assert choice is not None, "the choice is made"
    if as_json:
        print_json({"choice": choice.to_json(), "not_tried": dict(candidates.left_out)})
        return
    console, table = Console(), candidates_table(choice)
    print_rows(console, table.head, table.rows, title=table.title, n_left=1)
    print_lines(console, *choice_statements(choice))
    echo(f"Next: `kingyo resume {shlex.quote(str(request.out))}` breeds a model from them.")


def _print_catalogue(found: Catalogue) -> None:
    console = Console()
    head = ("model", "architecture", "dtype", "licence", "parameters", "size")
    for group in found.groups:
        fits = "No base, but these fit one another:" if group.base is None else f"Base: {group.base}"
        print_lines(console, fits, style="bold")
        print_rows(console, head, map(_cells, group.members), n_left=4)
    for each in found.excluded:
        print_lines(console, f"{each.reference} is excluded: {each.exclusion}")
    for base, problem in found.unread.items():
        print_lines(console, f"The base {base} cannot be read: {problem}")
    print_lines(console, found.in_words)


def _cells(candidate: Candidate) -> list[str]:
    facts = candidate.facts
    parameters = None if facts.n_parameters is None else count_text(facts.n_parameters)
    size = None if facts.n_bytes is None else size_text(facts.n_bytes)
    texts = (candidate.reference, facts.architecture, facts.dtype, candidate.licence, parameters, size)
    return [text or "–" for text in texts]


def _print_structures(measured: Catalogue) -> None:
    console = Console()
    for group in measured.groups:
        structure = group.structure
        if structure is None:
            continue
        share = structure.measured_share
        part = "all weights" if share == 1 else f"{percent(share)} of the weights, within --max-bytes"
        rows: list[list[str]] = []
        for i, each in enumerate(structure.members):
            closest, conflict = structure.closest(i), structure.mean_conflict(i)
            texts = (
                each.reference,
                each.finding,
                None if closest is None else structure.members[closest[0]].reference,
                None if each.change is None else percent(each.change),
                None if closest is None else f"{closest[1]:.3f}",
                None if conflict is None else percent(conflict),
            )
            rows.append([text or "–" for text in texts])
        print_lines(console, f"Measured {part} against {group.base}.")
        head = ("model", "remark", "closest other", "change", "cosine", "sign conflict")
        print_rows(console, head, rows, n_left=3)
    for each in measured.excluded:
        if each.exclusion is not None and each.exclusion.reason == "weights that are not finite":
            print_lines(console, f"{each.reference} is excluded: {each.exclusion}")
