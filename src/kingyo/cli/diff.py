"""The command ``diff``."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AllowPickle, AsJson
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted

MIN_FOR_PROGRESS = 20_000_000  # parameters; smaller models take about a second


def diff(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Folders or Hub names; model+lora adds a LoRA."),
    ],
    base: Annotated[
        str | None, typer.Option("--base", help="Common base model; also compares task vectors.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Also draw the comparison into this .png or .html file.")
    ] = None,
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """Compare models before a merge: how far apart their weights are, and whether their task vectors agree.

    Example: `kingyo diff model-a model-b --base base-model --picture differences.png`
    """
    from kingyo.checkpoints.locate import open_together
    from kingyo.compare import compare
    from kingyo.compare.picture import drawer
    from kingyo.io.files import write_bytes

    draw = None if picture is None else drawer(picture)
    named = open_together([*models, *([] if base is None else [base])], allow_pickle=allow_pickle)
    opened = [named[model] for model in models]
    ancestor = None if base is None else named[base]
    try:
        with _progress(min(each.n_parameters for each in opened)) as advance:
            comparison = compare(opened, ancestor, advance)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; nothing was written.") from None
    if as_json:
        print_json(comparison.record())
    else:
        from kingyo.cli.diff_tables import print_comparison

        print_comparison(comparison)
    if picture is not None and draw is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(picture, draw(comparison))
        echo(f"Drew {picture}.", err=as_json)


@contextmanager
def _progress(n_parameters: int) -> Generator[Callable[[int], None]]:
    """Show a progress bar on standard error, if it is a terminal and the models are large."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from kingyo.cli.console import Console

    console = Console(stderr=True)
    columns = (TextColumn("comparing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    disable = not console.is_terminal or n_parameters < MIN_FOR_PROGRESS
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("comparing", total=n_parameters)
        yield lambda new: bar.advance(task, new)
