"""The commands that compare models before a merge: ``diff`` and ``layers``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from kingyo.cli.console import Console, print_lines, print_rows, print_text
from kingyo.cli.options import AllowPickle, AsJson, Kind
from kingyo.cli.output import echo, print_json
from kingyo.core.io.files import write_bytes
from kingyo.core.io.units import count_text, counted, percent
from kingyo.errors import Interrupted, KingyoError

if TYPE_CHECKING:
    from kingyo.runs.layer_similarity import LayerSimilarity
    from kingyo.views.compare import CheckpointComparison, ComparisonSums

LEGEND = (
    "opposed: opposite signs, weighted by |δA·δB| (50% is chance); top 10%: share of ‖δ‖² in the largest "
    "tenth of each tensor (44% for a normal distribution)."
)
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
        Path | None, typer.Option("--picture", help="Also draw the comparison into this .png file.")
    ] = None,
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """Compare models before a merge: how far apart their weights are, and whether their task vectors agree.

    Example: `kingyo diff model-a model-b --base base-model --picture differences.png`
    """
    from kingyo.merging.checkpoints.locate import open_together
    from kingyo.views.compare import compare
    from kingyo.views.compare.picture import check_target, draw_png

    if picture is not None:
        check_target(picture)
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
        _print_comparison(comparison)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(picture, draw_png(comparison))
        echo(f"Drew {picture}.", err=as_json)


@contextmanager
def _progress(n_parameters: int) -> Generator[Callable[[int], None]]:
    """Show a progress bar on standard error, if it is a terminal and the models are large."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("comparing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    disable = not console.is_terminal or n_parameters < MIN_FOR_PROGRESS
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("comparing", total=n_parameters)
        yield lambda new: bar.advance(task, new)


def _print_comparison(comparison: CheckpointComparison) -> None:
    from kingyo.views.compare import letter

    console, base, total = Console(), comparison.base, comparison.total
    letters = [letter(i) for i in range(len(comparison.models))]
    for name, reference in zip(letters, comparison.models, strict=True):
        print_text(console, f"[bold]{name}[/bold] = {escape(reference)}")
    if base is not None:
        print_text(console, f"[bold]δ[/bold] = the change from the base, {escape(base)}")
        rows: list[list[str]] = []
        for i, name in enumerate(letters):
            shares = (total.change(i), total.unchanged(i), total.top_share(i))
            rows.append([name, f"{total.norm(i):.4g}", *map(_share, shares)])
        head = ("", "‖δ‖", "of ‖base‖", "unchanged", "top 10%")
        print_rows(console, head, rows, title="Task vectors", n_left=1)
    if len(letters) > 2:
        pairs = {
            f"{letter(i)}, {letter(j)}": _pair_cells(comparison, total, [(i, j)]) for i, j in total.pairs()
        }
        matrix = [[name, *cells.values()] for name, cells in pairs.items()]
        print_rows(console, ("pair", *next(iter(pairs.values()))), matrix, title="By pair", n_left=1)
    scale = "" if base is None else ", ‖δ‖ as a share of ‖base‖"
    means = "" if len(letters) < 3 else "; mean over pairs"
    groups = {"kind": {**comparison.kinds, "all": total}, "layer": comparison.layers}
    for what, group in groups.items():
        own = [
            (name.removeprefix("block."), count_text(sums.numbers), *_cells(comparison, sums).values())
            for name, sums in group.items()
        ]
        head = (what, "parameters", *_cells(comparison, total))
        print_rows(console, head, own, title=f"By {what}{scale}{means}", n_left=1)
    if base is not None:
        print_text(console, LEGEND, style="dim")
    print_lines(console, *comparison.notes)


def _cells(comparison: CheckpointComparison, sums: ComparisonSums) -> dict[str, str]:
    """Return the cells of a group of tensors: heading -> cell. Cells about pairs are means over all pairs."""
    from kingyo.views.compare import letter

    of_pairs = _pair_cells(comparison, sums, list(sums.pairs()))
    if comparison.base is None:
        return of_pairs
    changes = {f"‖δ{letter(i)}‖": _share(sums.change(i)) for i in range(sums.n_models)}
    if sums.n_models == 1:
        return {**changes, "unchanged": _share(sums.unchanged(0)), "top 10%": _share(sums.top_share(0))}
    return {**changes, **of_pairs}


def _pair_cells(
    comparison: CheckpointComparison, sums: ComparisonSums, pairs: Sequence[tuple[int, int]]
) -> dict[str, str]:
    """Return means over some pairs of models."""

    def mean(value: Callable[[int, int], float | None]) -> float | None:
        known = [each for each in (value(i, j) for i, j in pairs) if each is not None]
        return sum(known) / len(known) if known else None

    cosine = {"cosine": _number(mean(sums.cosine))}
    if comparison.base is None:
        return {**cosine, "equal": _share(mean(sums.equal_share))}
    return {**cosine, "opposed": _share(mean(sums.opposed))}


def _share(value: float | None) -> str:
    """Return a share in percent, with at least two significant digits."""
    if value is None:
        return "–"
    return percent(value) if value >= 0.01 or value == 0 else percent(value, ".2g")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def layers(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN.yaml",
            help="A run.yaml. With --task: models. The first vision-language model, or else the first model, "
            "provides embeddings and head.",
        ),
    ],
    task: Annotated[
        Path | None, typer.Option("--task", help="A task file; the models read its fit items.")
    ] = None,
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Maximum number of fit items.  \\[default: all]")
    ] = None,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
    as_json: AsJson = False,
) -> None:
    """Compare the hidden states of the layers of models, to see which jumps of a layer path are natural.

    Example: `kingyo layers run.yaml`
    """
    from kingyo.registry import whole_reference

    with redirect_stdout(sys.stderr):  # output of graders
        kind_name = None if kind is None else whole_reference(kind, Path.cwd())
        similarity = (
            _of_run(inputs[0], items, kind_name, allow_pickle=allow_pickle)
            if task is None and len(inputs) == 1
            else _of_models(inputs, task, items, kind_name, allow_pickle=allow_pickle)
        )
    if as_json:
        rows = [[None if isnan(value) else value for value in row] for row in similarity.cosine.tolist()]
        record: dict[str, object] = {
            "models": dict(similarity.models),
            "layers": dict(similarity.n_layers),
            "prompts": similarity.n_prompts,
            "tokens": similarity.n_tokens,
            "places": [f"{name}.{k}" for name, k in similarity.places],
            "cosine": rows,
        }
        print_json(record)
    else:
        _print(similarity)


def _print(similarity: LayerSimilarity) -> None:
    from kingyo.views.compare import letter

    console = Console()
    letters = {name: letter(i) for i, name in enumerate(similarity.models)}
    for name, reference in similarity.models.items():
        title = escape(name) if name == reference else f"{escape(name)} ({escape(reference)})"
        layers = counted(similarity.n_layers[name], "layer")
        print_text(console, f"[bold]{letters[name]}[/bold] = {title}, {layers}")
    size = f"{counted(similarity.n_tokens, 'token')} of {counted(similarity.n_prompts, 'prompt')}"
    print_lines(console, f"Mean cosine of streams on {size}, without the first token of each.")
    print_lines(console, "Row: output of a layer. Column: input of a layer.")
    places = list(enumerate(similarity.places))
    inputs = [(i, place) for i, place in places if place[1] < similarity.n_layers[place[0]]]
    rows: list[list[str]] = []
    for row, (name, k) in places:
        if k:
            cells = (_cosine(float(similarity.cosine[row, column])) for column, _ in inputs)
            rows.append([f"{letters[name]}.{k - 1}", *cells])
    print_rows(console, ("", *(f"{letters[name]}.{k}" for _, (name, k) in inputs)), rows, n_left=1)


def _cosine(value: float) -> str:
    """Return a number with two digits: .97, 1, -.12."""
    text = "–" if isnan(value) else f"{value:.2f}"
    return "1" if text == "1.00" else text.replace("0.", ".", 1)


def _of_run(file: str, items: int | None, kind: str | None, *, allow_pickle: bool) -> LayerSimilarity:
    from kingyo.runs.config_file import load_config
    from kingyo.runs.layer_similarity import measure_sources

    path = Path(file)
    config = load_config(path)
    changes = {"kind": kind or config.kind, "allow_pickle": allow_pickle or config.allow_pickle}
    return measure_sources(config.model_copy(update=changes), path.parent, items)


def _of_models(
    models: list[str], task: Path | None, items: int | None, kind: str | None, *, allow_pickle: bool
) -> LayerSimilarity:
    if task is None:
        remedy = "Add --task FILE; the models read its fit items."
        raise KingyoError("--task", "a task file for several models", "none", remedy)
    from kingyo.merging.checkpoints import open_checkpoint
    from kingyo.models.kinds import LoadOptions
    from kingyo.runs.layer_similarity import measure_models
    from kingyo.runs.model_kind import kind_of_models
    from kingyo.runs.run import kind_in, open_task

    each_opened = (open_checkpoint(model, allow_pickle=allow_pickle) for model in models)
    opened = {each.reference: each for each in each_opened}
    options = LoadOptions(allow_pickle=allow_pickle)
    common = kind_of_models(opened, kind or kind_in(task), Path.cwd())
    return measure_models(opened, open_task(task), common, options, items)
