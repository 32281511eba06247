"""The command ``scout``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AllowPickle, AsJson
from kingyo.cli.scout_choice import Asked, choose_for_task, print_plan, require_task
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted, KingyoError

if TYPE_CHECKING:
    from kingyo.scout import Catalogue

TaskOption = Annotated[
    Path | None,
    typer.Option("--task", metavar="TASK.yaml", help="Choose sources for this task; write their run.yaml."),
]


class Licences(StrEnum):
    """Which licences a candidate may have."""

    ANY = "any"
    STRICT = "strict"


def scout(
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
        float, typer.Option("--min-gain", min=0, max=1, help="Least gain in mean score of a further source.")
    ] = 0.01,
    most: Annotated[int | None, typer.Option("--most", min=1, help="Most sources.")] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="Most bytes of all chosen sources, such as 30GB.")
    ] = None,
    budget: Annotated[int | None, typer.Option("--budget", min=1, help="Most answers to grade.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Most minutes to score.")
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
    out: Annotated[
        Path, typer.Option("--out", help="Folder of what is measured, and of the run.yaml.")
    ] = Path("runs/scout"),
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
    from kingyo.cli.scout_progress import counting
    from kingyo.cli.scout_tables import print_catalogue
    from kingyo.io.units import parse_size
    from kingyo.scout import Rules, catalogue, find_places

    limit_of_bytes = parse_size(max_bytes, "--max-bytes")
    asked = None
    if task is not None:
        capacity = None if max_size is None else parse_size(max_size, "--max-size")
        asked = Asked(
            task=task,
            out=out,
            seed=seed,
            min_gain=min_gain,
            most=most,
            max_size=capacity,
            budget=budget,
            minutes=minutes,
            frame=frame,
        )
        require_task(asked)
    rules = Rules(strict_licences=licences is Licences.STRICT, allow_pickle=allow_pickle)
    try:
        places = find_places(where or (), hub or (), limit, lambda text: echo(text, err=True))
        if not places:
            raise _nothing(where or [], hub or [])
        with counting(len(places)) as advance:
            found = catalogue(places, base, rules, advance)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; nothing was written.") from None
    if not as_json:
        print_catalogue(found)
    if asked is not None and dry_run:
        print_plan(found, asked, limit_of_bytes, as_json=as_json)
        return
    if weights or asked is not None:
        found = _measure(found, out, limit_of_bytes, allow_pickle=allow_pickle, as_json=as_json)
    if asked is not None:
        choose_for_task(found, asked, as_json=as_json)
    elif as_json:
        print_json(found.to_json())
    if not found.n_mergeable:
        raise typer.Exit(1)


def _measure(found: Catalogue, out: Path, limit: int, *, allow_pickle: bool, as_json: bool) -> Catalogue:
    """Measure the weights of each group, and print what they show."""
    from kingyo.cli.scout_progress import measuring
    from kingyo.cli.structure_tables import print_structures
    from kingyo.scout import with_structures
    from kingyo.store.evidence import EvidenceStore

    try:
        with EvidenceStore(out) as store, measuring() as show:
            measured = with_structures(found, store, limit, show, allow_pickle=allow_pickle)
    except KeyboardInterrupt:
        kept = f"what was measured is in {out}"
        raise Interrupted(f"Interrupted; {kept}. Continue with the same command.") from None
    if not as_json:
        print_structures(measured, found)
    return measured


def _nothing(where: list[str], hub: list[str]) -> KingyoError:
    named = ", ".join([*where, *(f"--hub {query}" for query in hub)])
    return KingyoError(
        named or "WHERE",
        expected="models, adapters or diffusers pipelines",
        received="none" if named else "nothing",
        remedy="Name a folder with models at a depth of at most 3, models on the Hub, or a --hub query.",
    )
