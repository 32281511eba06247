"""The command that compares models: diff."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.evaluate import AllowPickle
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted, KingyoError

if TYPE_CHECKING:
    pass

LEAST_FOR_PROGRESS = 20_000_000  # numbers; a smaller model is done before a bar could be read


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(diff)


def diff(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Folders, or names on the Hub; model+lora adds a LoRA."),
    ],
    base: Annotated[
        str | None, typer.Option("--base", help="Their common ancestor: compares task vectors too.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Also draw it into this .png or .html file.")
    ] = None,
    allow_pickle: AllowPickle = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compare models before merging them: how far apart they are, and whether what they learnt agrees.

    Example: `kingyo diff model-a model-b --base ancestor --picture differences.png`
    """
    _diff(models, base, picture, allow_pickle=allow_pickle, as_json=as_json)


def _diff(
    models: list[str], base: str | None, picture: Path | None, *, allow_pickle: bool, as_json: bool
) -> None:
    from kingyo.checkpoints import open_checkpoint
    from kingyo.compare import compare, to_record
    from kingyo.compare.picture import drawer

    draw = None if picture is None else drawer(picture)
    opened = [open_checkpoint(model, allow_pickle=allow_pickle) for model in models]
    ancestor = None if base is None else open_checkpoint(base, allow_pickle=allow_pickle)
    try:
        with _progress(opened[0].n_parameters) as done:
            found = compare(opened, ancestor, done)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; nothing was written.") from None
    if as_json:
        print_json(to_record(found))
    else:
        from kingyo.cli.diff_tables import print_comparison

        print_comparison(found)
    if picture is not None and draw is not None:
        write_picture(picture, draw(found))
        echo(f"Drew {picture}.", err=as_json)


@contextmanager
def _progress(numbers: int) -> Generator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal and there is much to read."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from kingyo.cli.console import Console

    console = Console(stderr=True)
    columns = (TextColumn("comparing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    disable = not console.is_terminal or numbers < LEAST_FOR_PROGRESS
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("comparing", total=numbers)
        yield lambda new: bar.advance(task, new)


def write_picture(picture: Path, content: bytes) -> None:
    """Write what was drawn.

    Raises:
        KingyoError: there is no writing to that place.
    """
    from kingyo.io.files import write_bytes

    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(picture, content)
    except OSError as error:
        raise KingyoError(
            "--picture",
            expected="a file that can be written",
            received=error.strerror or str(error),
            remedy="Name a file in a folder that you may write to.",
        ) from error
