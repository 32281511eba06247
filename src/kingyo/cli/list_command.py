"""The command ``list``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli import listing
from kingyo.cli.as_json import print_json
from kingyo.cli.listing import Listing
from kingyo.cli.options import AsJson
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, unknown

if TYPE_CHECKING:
    from kingyo.cli.console import Console


class ListKind(StrEnum):
    """What can be listed."""

    methods = "methods"
    strategies = "strategies"
    graders = "graders"
    presets = "presets"
    kinds = "kinds"


_LISTINGS = {
    ListKind.methods: listing.methods,
    ListKind.strategies: listing.strategies,
    ListKind.graders: listing.graders,
    ListKind.presets: listing.presets,
    ListKind.kinds: listing.kinds,
}


def show_list(
    kind: Annotated[ListKind, typer.Argument(help="What to list.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this one with all its options.")
    ] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Methods only: print the page docs/methods.md.")
    ] = False,
) -> None:
    """List merge methods, strategies, graders, presets or kinds of models; or show one with its options.

    Example: `kingyo list methods`, then `kingyo list methods ties`
    """
    if as_markdown:
        echo(_page(kind, name), nl=False)
        return
    listings = _LISTINGS[kind]()
    if name is not None:
        names = [each.name for each in listings]
        if name not in names:
            raise unknown(kind.value, name, names)
        listings = [listings[names.index(name)]]
    if as_json:
        print_json([each.to_json() for each in listings])
        return
    from kingyo.cli.console import Console

    console = Console()
    if name is None:
        _print_all(console, kind, listings)
    else:
        _print_one(console, listings[0])


def _print_all(console: Console, kind: ListKind, listings: list[Listing]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    n_for_most = sum(each.is_for_most for each in listings)
    for i, each in enumerate(listings):
        if i == n_for_most > 0:
            table.add_row()
        table.add_row(escape(each.name), escape(each.line))
    if n_for_most:
        console.print("For most runs, with the default first; the others are below.\n")
    console.print(table)
    details = "abilities" if kind is ListKind.kinds else "options"
    echo(f"\n`kingyo list {kind.value} NAME` shows the {details} of one.")


def _print_one(console: Console, shown: Listing) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    console.print(f"[bold]{escape(shown.name)}[/bold]: {escape(shown.line)}")
    if shown.more:
        console.print(escape(shown.more))
    for i, option in enumerate(shown.options):
        console.print(Padding(escape(option), (0 if i else 1, 0, 0, 2)))


def _page(kind: ListKind, name: str | None) -> str:
    from kingyo.methods.catalogue import page

    if name is not None:
        raise KingyoError(
            "--markdown", expected="no name", received=name, remedy="Leave the name or --markdown out."
        )
    if kind is not ListKind.methods:
        raise KingyoError(
            "--markdown",
            expected="methods",
            received=kind.value,
            remedy="Leave --markdown out, or use --json.",
        )
    return page()
