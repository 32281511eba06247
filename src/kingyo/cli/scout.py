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

from kingyo.cli.console import Console, print_lines, print_rows
from kingyo.cli.options import AllowPickle, AsJson, declared
from kingyo.cli.output import echo, print_json
from kingyo.cli.progress import Counts
from kingyo.cli.run import interruptible
from kingyo.core.io.units import count_text, counted, percent, size_text
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.runs.choice import ChosenSources
    from kingyo.scout import Candidate, Catalogue
    from kingyo.scout.for_task import ScoutRequest

CANDIDATES = 400
"""Candidates of the search that follows a choice."""
PER_CANDIDATE = (130, 600)
"""Answers per candidate, with some room: 178 among 5 of the zoo, 277 to 348 among 18 of zoo/pool."""
NEED_TASK = ("seed", "min_gain", "most", "max_size", "item_evaluations", "minutes", "frame", "dry_run")
NEED_WEIGHTS = ("out", "max_bytes")
OUT = Path("runs/scout")
_COLUMNS = ("model", "architecture", "dtype", "licence", "languages", "parameters", "size")
_N_LEFT = 5
_MOST_LANGUAGES = 3
_MEASURES_LEGEND = (
    "change: ‖δ‖ / ‖base‖, where δ is the difference from the base; cosine: of δ with that of the closest "
    "other; sign conflict: opposite signs among the numbers that both change (50% is chance), mean over the "
    "others."
)


@declared(
    "kingyo.scout.for_task:ScoutedSources",
    *("min_gain", "most", "max_size", "item_evaluations", "minutes", "max_bytes"),
    item_evaluations={"names": ("--budget",)},
)
def scout(
    options: dict[str, Any],
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="WHERE...",
            help="Folders with models, and names on the Hub.",
        ),
    ],
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
    from kingyo.scout.for_task import ScoutedSources, ScoutRequest, check_rest

    defaults = ScoutedSources.model_fields
    given = {key for key, value in options.items() if value not in (defaults[key].default, [])}
    own = {"seed": seed != 0, "frame": frame is not None, "dry_run": dry_run, "out": out != OUT}
    _require_used(given | {key for key in own if own[key]}, has_task=task is not None, has_weights=weights)
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
    stdout: TextIO = sys.stdout
    before: Catalogue | None = None

    def show(found: Catalogue) -> None:
        nonlocal before
        with redirect_stdout(stdout):  # graders may print meanwhile
            if not quiet and before is None:
                _print_catalogue(found)
            elif not quiet and before is not None:
                _print_structures(found, before)
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
    from kingyo.cli.live_display import LiveDisplay
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
    if as_json:
        print_json({"choice": choice.to_json(), "not_tried": dict(candidates.left_out)})
        return
    _print_choice(choice)
    echo(f"Next: `kingyo resume {shlex.quote(str(request.out))}` breeds a model from them.")


def _print_catalogue(found: Catalogue) -> None:
    """Print the candidates that can be merged, the others with their reasons, and the counts."""
    console = Console()
    for group in found.groups:
        fits = "No base, but these fit one another:" if group.base is None else f"Base: {group.base}"
        print_lines(console, fits, style="bold")
        rows = [_cells(each) for each in group.members]
        shared = [i for i in range(1, len(_COLUMNS)) if len(rows) > 1 and len({row[i] for row in rows}) == 1]
        facts = [f"{_COLUMNS[i]} {rows[0][i]}" for i in shared if rows[0][i] != "–"]
        if facts:
            print_lines(console, f"All have {'; '.join(facts)}.")
        kept = [i for i in range(len(_COLUMNS)) if i not in shared]
        own = ([row[i] for i in kept] for row in rows)
        n_left = sum(i < _N_LEFT for i in kept)
        print_rows(console, [_COLUMNS[i] for i in kept], own, n_left=n_left, folds=True)
    names: dict[str, list[str]] = {}
    for each in found.excluded:
        names.setdefault(str(each.exclusion), []).append(each.reference)
    if names:
        print_lines(console, "Excluded:")
    print_lines(console, *(f"- {', '.join(own)}: {reason}" for reason, own in names.items()))
    for base, problem in found.unread.items():
        print_lines(console, f"The base {base} cannot be read: {problem}")
    print_lines(console, found.in_words)


def _cells(candidate: Candidate) -> list[str]:
    facts, names = candidate.facts, candidate.card.languages
    more = f" +{len(names) - _MOST_LANGUAGES}" if len(names) > _MOST_LANGUAGES else ""
    texts = (
        candidate.reference,
        facts.architecture,
        facts.dtype,
        candidate.licence or "not stated",
        ", ".join(names[:_MOST_LANGUAGES]) + more,
        None if facts.n_parameters is None else count_text(facts.n_parameters),
        None if facts.n_bytes is None else size_text(facts.n_bytes),
    )
    return [text or "–" for text in texts]


def _print_structures(measured: Catalogue, before: Catalogue) -> None:
    """Print a table for each group, and the candidates that the weights exclude."""
    console = Console()
    for group in measured.groups:
        structure = group.structure
        if structure is None:
            continue
        share = structure.measured_share
        part = "all weights" if share == 1 else f"{percent(share)} of the weights, within --max-bytes"
        print_lines(console, f"Measured {part} against {group.base}.")
        rows: list[list[str]] = []
        for i, each in enumerate(structure.members):
            closest, conflict = structure.closest(i), structure.mean_conflict(i)
            other = None if closest is None else structure.members[closest[0]].reference
            cosine = None if closest is None else f"{closest[1]:.3f}"
            shares = (None if each is None else percent(each) for each in (each.change, conflict))
            change, opposed = shares
            rows.append(
                [text or "–" for text in (each.reference, each.finding, other, change, cosine, opposed)]
            )
        head = ("model", "remark", "closest other", "change", "cosine", "sign conflict")
        print_rows(console, head, rows, n_left=3)
    if any(group.structure is not None for group in measured.groups):
        print_lines(console, _MEASURES_LEGEND)
    known = {each.reference for each in before.excluded}
    for each in measured.excluded:
        if each.reference not in known:
            print_lines(console, f"{each.reference} is excluded: {each.exclusion}")


def _print_choice(choice: ChosenSources) -> None:
    """Print the chosen sources with reasons, and the best of the others."""
    from kingyo.views.choice import choice_statements, gain_text

    console, rows = Console(), list[list[str]]()
    added = {step.added: step for step in choice.steps if step.added is not None}
    for name in choice.chosen:
        i = choice.sources.index(name)
        alone, last = choice.alone.get(name), choice.contributions.get(name)
        cells = (
            name,
            None if alone is None else percent(alone.score),
            gain_text(added[i].gains[i]) if i in added else None,
            None if last is None else gain_text(last),
        )
        rows.append([text or "–" for text in cells])
    if rows:
        head = ("source", "alone", "gain when added", "in the final set")
        print_rows(console, head, rows, title="Chosen", n_left=1)
    print_lines(console, *choice_statements(choice))
