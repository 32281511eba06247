"""The command that compares models: diff."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from kingyo.cli.whole import print_whole
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.compare import Comparison, Measures

LEAST_FOR_PROGRESS = 20_000_000  # numbers; a smaller model is done before a bar could be read

LEGEND = (
    "opposed: of the numbers that both have changed, those with opposite signs (50 % is chance); by size: "
    "the same, weighted by |δδ|; top 10 %: what the largest tenth of each tensor holds of ‖δ‖² (44 % if "
    "it is normal)."
)

Cells = Callable[["Measures"], list[str]]


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compare models before merging them: how far apart they are, and whether what they learnt agrees.

    Example: `kingyo diff model-a model-b --base ancestor --picture differences.png`
    """
    try:
        _diff(models, base, picture, as_json=as_json)
    except KingyoError as error:
        if not as_json:
            raise
        from kingyo.merging.record import findings_record
        from kingyo.vocabulary import Finding

        found = findings_record([Finding.of(error)])
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        raise typer.Exit(1) from None


def _diff(models: list[str], base: str | None, picture: Path | None, *, as_json: bool) -> None:
    from kingyo.checkpoints import open_checkpoint
    from kingyo.compare import compare, to_record
    from kingyo.compare.picture import drawer

    draw = None if picture is None else drawer(picture)
    opened = [open_checkpoint(model) for model in models]
    ancestor = None if base is None else open_checkpoint(base)
    try:
        with _progress(opened[0].n_parameters) as done:
            found = compare(opened, ancestor, done)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(to_record(found), ensure_ascii=False, indent=2))
    else:
        _print(found)
    if picture is not None and draw is not None:
        _write(picture, draw(found))
        typer.echo(f"Drew {picture}.", err=as_json)


@contextmanager
def _progress(numbers: int) -> Generator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal and there is much to read."""
    console = Console(stderr=True)
    columns = (TextColumn("comparing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    disable = not console.is_terminal or numbers < LEAST_FOR_PROGRESS
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("comparing", total=numbers)
        yield lambda new: bar.advance(task, new)


def _write(picture: Path, content: bytes) -> None:
    from kingyo.atomic import write_bytes

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


def _print(found: Comparison) -> None:
    from kingyo.compare import advise, letter

    console = Console(highlight=False)
    for i, reference in enumerate(found.models):
        console.print(f"[bold]{letter(i)}[/bold] = {escape(reference)}", soft_wrap=True)
    if found.base is not None:
        console.print(f"[bold]δ[/bold] = what each adds to its base, {escape(found.base)}", soft_wrap=True)
        print_whole(console, _models(found))
    if len(found.models) > 2:
        matrices = [_matrix(title, cells) for title, cells in _matrices(found).items()]
        console.print(Columns(matrices, padding=(0, 3)))
    print_whole(console, _groups(found, "kind", {**found.kinds, "all": found.total}))
    print_whole(console, _groups(found, "layer", found.layers))
    if found.base is not None:
        console.print(LEGEND, style="dim", soft_wrap=True)
    for line in (*found.notes, *advise(found)):
        console.print(escape(line), soft_wrap=True)


def _models(found: Comparison) -> Table:
    """What each model adds to its base, over all tensors."""
    from kingyo.compare import TOP, letter

    total = found.total
    energy = [f"top {share:.0%}".replace("%", " %") for share in TOP]
    table = _table("Task vectors", "", "‖δ‖", "of ‖base‖", "unchanged", *energy)
    for i in range(len(found.models)):
        held = [total.top_share(i, which) for which in (0, 1)]
        shares = [total.change(i), total.unchanged(i), *held]
        table.add_row(letter(i), f"{total.delta_norm(i):.4g}", *(_share(each) for each in shares))
    return table


def _columns(found: Comparison) -> tuple[list[str], Cells]:
    """Which columns a table of groups has, and what stands in them."""
    from kingyo.compare import letter

    n = len(found.models)
    names = [letter(i) for i in range(n)]
    if found.base is not None:
        head = [f"‖δ{name}‖" for name in names]
        more = ["cosine", "opposed", "by size"] if n > 1 else ["unchanged", "top 10 %"]
        return [*head, *more], _with_base
    head = [f"‖{name}‖" for name in names]
    return [*head, "‖A − B‖" if n == 2 else "gap", "relative", "cosine", "equal"], _without_base


def _with_base(sums: Measures) -> list[str]:
    changes = [_share(sums.change(i)) for i in range(sums.n_models)]
    if sums.n_models == 1:
        return [*changes, _share(sums.unchanged(0)), _share(sums.top_share(0))]
    return [
        *changes,
        _number(_mean(sums, sums.delta_cosine)),
        _share(_mean(sums, sums.conflict)),
        _share(_mean(sums, sums.weighted_conflict)),
    ]


def _without_base(sums: Measures) -> list[str]:
    return [
        *(f"{sums.norm(i):.4g}" for i in range(sums.n_models)),
        f"{_mean(sums, sums.distance) or 0.0:.4g}",
        _share(_mean(sums, lambda i, j: sums.relative(j, i))),
        _number(_mean(sums, sums.cosine)),
        _share(_mean(sums, sums.equal_share)),
    ]


def _mean(sums: Measures, value: Callable[[int, int], float | None]) -> float | None:
    known = [each for each in (value(i, j) for i, j in sums.pairs()) if each is not None]
    return sum(known) / len(known) if known else None


def _groups(found: Comparison, what: str, groups: Mapping[str, Measures]) -> Table:
    head, cells = _columns(found)
    scale = "" if found.base is None else ", ‖δ‖ as a share of ‖base‖"
    means = "" if len(found.models) < 3 else "; of pairs the mean"
    table = _table(f"By {what}{scale}{means}", what, "numbers", *head)
    for name, sums in groups.items():
        table.add_row(name.removeprefix("block."), _count(sums.numbers), *cells(sums))
    return table


def _matrices(found: Comparison) -> dict[str, list[list[str]]]:
    """Pair by pair over all tensors: title -> rows of cells."""
    total = found.total
    shown: dict[str, Callable[[int, int], str]] = {
        "‖row − column‖/‖row‖": lambda i, j: _share(total.relative(j, i)),
        "Cosine of weights": lambda i, j: _number(total.cosine(i, j)),
    }
    if found.base is not None:
        shown["Cosine of task vectors"] = lambda i, j: _number(total.delta_cosine(i, j))
        shown["Opposite signs"] = lambda i, j: _share(total.conflict(i, j))
        shown["Opposite, by size"] = lambda i, j: _share(total.weighted_conflict(i, j))
    places = range(len(found.models))
    return {
        title: [["" if i == j else cell(i, j) for j in places] for i in places]
        for title, cell in shown.items()
    }


def _matrix(title: str, cells: Sequence[Sequence[str]]) -> Table:
    from kingyo.compare import letter

    names = [letter(i) for i in range(len(cells))]
    table = _table(title, "", *names)
    for name, row in zip(names, cells, strict=True):
        table.add_row(name, *row)
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _share(value: float | None) -> str:
    """In percent, with two digits at least that tell something."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if value >= 0.01 or value == 0 else f"{100 * value:.2g} %"


def _count(numbers: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if numbers >= size:
            return f"{numbers / size:.3g} {unit}"
    return str(numbers)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
