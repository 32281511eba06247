"""The command ``tune``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.options import AsJson, RunFolder
from kingyo.cli.run import print_run, require_one_run, run_to_end
from kingyo.cli.terminal import echo

if TYPE_CHECKING:
    from kingyo.store import RunStore

Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        metavar="FILE",
        help="A task file, or items of the run's task, that the tuned model must still solve.",
    ),
]
Limit = Annotated[
    float | None,
    typer.Option(
        "--limit",
        min=0,
        max=100,
        help="With --keep: a model that loses more points there is not chosen.  \\[default: 2]",
    ),
]


def tune(run: RunFolder, keep: Keep = None, limit: Limit = None, as_json: AsJson = False) -> None:
    """Train a LoRA on the bred model of a finished run, with right answers to the fit items.

    Validation chooses between the bred model, which wins ties, and LoRAs of
    different learning rates; test is read once for the choice. The same
    training on the best parent shows what breeding was worth. It needs the
    extra `lora`. Rerun the command to resume after an interruption.

    Example: `kingyo tune runs/first --keep general.yaml`
    """
    from kingyo.run.resume import add_tuning
    from kingyo.store import RunStore

    require_one_run(run)
    with RunStore.open(run) as store:
        if add_tuning(store, keep, limit):
            command = shlex.join(("kingyo", "tune", str(run)))
            run_to_end(store, None, quiet=as_json, command=command)
        else:
            echo("This run is already tuned.", err=True)
        _print(store, as_json=as_json)


def _print(store: RunStore, *, as_json: bool) -> None:
    from kingyo.cli.tables import print_some
    from kingyo.evolution import MAIN
    from kingyo.results.summarize import summarize
    from kingyo.run.config import TRAININGS, TUNED

    if as_json:
        print_run(store, as_json=True)
        return
    summary, folder = summarize(store), shlex.quote(str(store.folder))
    print_some(summary, TRAININGS, "tuned against", "tuned")
    is_tuned = summary.tuning is not None and summary.tuning.chosen.get(TUNED, 0) > 0
    best = MAIN if summary.best is None else summary.best.trial.search
    flag = f" --search {TUNED}" if is_tuned and best not in TRAININGS else ""
    echo(f"\nNext: `kingyo export {folder} OUT{flag}` or `kingyo show {folder}`")
