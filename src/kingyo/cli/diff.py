"""The commands that compare models before a merge: ``diff`` and ``layers``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.options import AllowPickle, AsJson, Kind
from kingyo.cli.output import echo, print_json
from kingyo.errors import Interrupted, KingyoError

if TYPE_CHECKING:
    from kingyo.runs.layer_similarity import LayerSimilarity

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
    from kingyo.core.io.files import write_bytes
    from kingyo.merging.checkpoints.locate import open_together
    from kingyo.views.compare import compare
    from kingyo.views.compare.picture import drawer

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
        print_json(_record(similarity))
    else:
        _print(similarity)


def _record(similarity: LayerSimilarity) -> dict[str, object]:
    rows = [[None if isnan(value) else value for value in row] for row in similarity.cosine.tolist()]
    return {
        "models": dict(similarity.models),
        "layers": dict(similarity.n_layers),
        "prompts": similarity.n_prompts,
        "tokens": similarity.n_tokens,
        "places": [f"{name}.{k}" for name, k in similarity.places],
        "cosine": rows,
    }


def _print(similarity: LayerSimilarity) -> None:
    from rich.markup import escape

    from kingyo.cli.console import Console, plain_table, print_table, print_text
    from kingyo.core.io.units import counted
    from kingyo.views.compare import letter

    console = Console(highlight=False)
    letters = {name: letter(i) for i, name in enumerate(similarity.models)}
    for name, reference in similarity.models.items():
        title = escape(name) if name == reference else f"{escape(name)} ({escape(reference)})"
        layers = counted(similarity.n_layers[name], "layer")
        print_text(console, f"[bold]{letters[name]}[/bold] = {title}, {layers}")
    size = f"{counted(similarity.n_tokens, 'token')} of {counted(similarity.n_prompts, 'prompt')}"
    print_text(console, f"Mean cosine of streams on {size}, without the first token of each.")
    print_text(console, "Row: output of a layer. Column: input of a layer.")
    places = list(enumerate(similarity.places))
    inputs = [(i, place) for i, place in places if place[1] < similarity.n_layers[place[0]]]
    table = plain_table("", *(f"{letters[name]}.{k}" for _, (name, k) in inputs), n_left=1)
    for row, (name, k) in places:
        if k:
            cells = (_number(float(similarity.cosine[row, column])) for column, _ in inputs)
            table.add_row(f"{letters[name]}.{k - 1}", *cells)
    print_table(console, table)


def _number(value: float) -> str:
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
    from kingyo.runs.layer_similarity import SimilaritySettings, measure_models
    from kingyo.runs.run import kind_in, open_task

    each_opened = (open_checkpoint(model, allow_pickle=allow_pickle) for model in models)
    opened = {each.reference: each for each in each_opened}
    settings = SimilaritySettings(
        frame=next(iter(opened)),
        folder=Path.cwd(),
        options=LoadOptions(allow_pickle=allow_pickle),
        most=items,
        kind=kind or kind_in(task),
    )
    return measure_models(opened, open_task(task), settings)
