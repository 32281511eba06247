"""The command ``scout``."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AllowPickle, AsJson
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted, KingyoError

_SILENT_FOR = 1.0  # seconds


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
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """List models by their headers and cards: which can be merged together, and why the others cannot.

    Example: `kingyo scout models/ org/name --base org/base`
    """
    from kingyo.cli.scout_tables import print_catalogue
    from kingyo.scout import Rules, catalogue, find_places

    rules = Rules(strict_licences=licences is Licences.STRICT, allow_pickle=allow_pickle)
    try:
        places = find_places(where or (), hub or (), limit, lambda text: echo(text, err=True))
        if not places:
            raise _nothing(where or [], hub or [])
        with _progress(len(places)) as advance:
            found = catalogue(places, base, rules, advance)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; nothing was written.") from None
    if as_json:
        print_json(found.to_json())
    else:
        print_catalogue(found)
    if not found.n_mergeable:
        raise typer.Exit(1)


def _nothing(where: list[str], hub: list[str]) -> KingyoError:
    named = ", ".join([*where, *(f"--hub {query}" for query in hub)])
    return KingyoError(
        named or "WHERE",
        expected="models, adapters or diffusers pipelines",
        received="none" if named else "nothing",
        remedy="Name a folder with models at a depth of at most 3, models on the Hub, or a --hub query.",
    )


@contextmanager
def _progress(total: int) -> Generator[Callable[[int], None]]:
    """Show a progress bar on standard error, if it is a terminal, after the first second."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kingyo.cli.console import Console

    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task, begun = bar.add_task("reading", total=total), time.monotonic()

    def advance(n: int) -> None:
        bar.advance(task, n)
        if time.monotonic() - begun > _SILENT_FOR:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
