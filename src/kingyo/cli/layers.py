"""The command ``layers``."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AllowPickle, AsJson, Kind
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.run.layer_similarity import SimilarityResult


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
        from kingyo.compare.similarity import similarity_record

        print_json(similarity_record(similarity.models, similarity.n_prompts, similarity.likeness))
    else:
        from kingyo.cli.layer_tables import print_similarity

        print_similarity(similarity)


def _of_run(file: str, items: int | None, kind: str | None, *, allow_pickle: bool) -> SimilarityResult:
    from kingyo.run.config_file import load_config
    from kingyo.run.layer_similarity import measure_sources

    path = Path(file)
    config = load_config(path)
    changes = {"kind": kind or config.kind, "allow_pickle": allow_pickle or config.allow_pickle}
    return measure_sources(config.model_copy(update=changes), path.parent, items)


def _of_models(
    models: list[str], task: Path | None, items: int | None, kind: str | None, *, allow_pickle: bool
) -> SimilarityResult:
    if task is None:
        raise KingyoError(
            "--task",
            expected="a task file for several models",
            received="none",
            remedy="Add --task FILE; the models read its fit items.",
        )
    from kingyo.checkpoints import open_checkpoint
    from kingyo.models.kinds import LoadOptions
    from kingyo.run.layer_similarity import SimilaritySettings, measure_models
    from kingyo.run.open_task import kind_in, open_task

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
