"""The command that tells how alike the layers of models are: layers."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.evaluate import AllowPickle, Kind
from kingyo.errors import KingyoError
from kingyo.registry import whole_reference

if TYPE_CHECKING:
    from kingyo.run.layer_similarity import SimilarityResult


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(layers)


def layers(
    what: Annotated[
        list[str],
        typer.Argument(metavar="RUN.yaml", help="A run.yaml; or, with --task, models, the first as frame."),
    ],
    task: Annotated[
        Path | None, typer.Option("--task", help="A task file, whose fit items the models read.")
    ] = None,
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Read only this many fit items.  \\[default: all]")
    ] = None,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compare what passes through the layers of models, to see which jumps of a path are natural.

    Example: `kingyo layers run.yaml`
    """
    with redirect_stdout(sys.stderr):  # what a task of the user's own prints is not the answer
        is_run = task is None and len(what) == 1
        named = None if kind is None else whole_reference(kind, Path.cwd())
        found = (
            _of_run(what[0], items, named, allow_pickle=allow_pickle)
            if is_run
            else _of_models(what, task, items, named, allow_pickle=allow_pickle)
        )
    if as_json:
        from kingyo.compare.similarity_record import similarity_record

        record = similarity_record(found.models, found.n_prompts, found.likeness)
        print_json(record)
    else:
        from kingyo.cli.layer_tables import print_likeness

        print_likeness(found)


def _of_run(file: str, items: int | None, kind: str | None, *, allow_pickle: bool) -> SimilarityResult:
    from kingyo.run.config_file import load_config
    from kingyo.run.layer_similarity import measure_sources

    path = Path(file)
    if path.is_dir():
        raise KingyoError(
            file,
            expected="a run.yaml, or models with --task",
            received="a folder",
            remedy="Name the run.yaml, or add --task FILE with the prompts that the models are to read.",
        )
    config = load_config(path)
    said = {"kind": kind or config.kind, "allow_pickle": allow_pickle or config.allow_pickle}
    return measure_sources(config.model_copy(update=said), path.parent, items)


def _of_models(
    models: list[str], task: Path | None, items: int | None, kind: str | None, *, allow_pickle: bool
) -> SimilarityResult:
    if task is None:
        raise KingyoError(
            "--task",
            expected="a task file beside several models",
            received="none",
            remedy="Add --task FILE: the models are compared on the prompts of its fit items.",
        )
    from kingyo.checkpoints import open_checkpoint
    from kingyo.models.kinds import LoadOptions
    from kingyo.run.layer_similarity import SimilaritySettings, measure_models
    from kingyo.run.open_task import kind_in, open_task

    each_opened = (open_checkpoint(model, allow_pickle=allow_pickle) for model in models)
    opened = {each.reference: each for each in each_opened}
    how = SimilaritySettings(
        frame=next(iter(opened)),
        folder=Path.cwd(),
        options=LoadOptions(allow_pickle=allow_pickle),
        most=items,
        kind=kind or kind_in(task),
    )
    return measure_models(opened, open_task(task), how)
