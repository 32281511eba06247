"""The commands that present a run: ``show`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import TRIALS, AsJson, RunFolder
from kingyo.cli.run import print_run, require_one_run
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, report_errors

if TYPE_CHECKING:
    from kingyo.store import RunStore


def show(
    run: RunFolder,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial", metavar="TRIAL", help=f"Show the scores and the recipe of a trial: {TRIALS}."
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            "--answers", min=1, help="With --trial: show N answers of the trial on fit, the worst first."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results of a run, with advice, even while it is running. For several seeds, show the spread.

    Example: `kingyo show runs/first --trial 3 --answers 5`
    """
    from kingyo.run.seed_runs import seed_folders
    from kingyo.store import RunStore

    if answers is not None and trial is None:
        remedy = "Add --trial, such as --trial 0."
        raise KingyoError("--answers", expected="--trial with it", received="no --trial", remedy=remedy)
    if seed_folders(run) and trial is None:
        print_spread(run, as_json)
        return
    with RunStore.read(run) as store:
        if trial is None:
            print_run(store, as_json=as_json)
        else:
            _print_trial(store, trial, answers, as_json)


def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file to write.  \\[default: RUN/report.html]")
    ] = None,
) -> None:
    """Write the report of a run: an HTML file that works offline, and its charts as images.

    Example: `kingyo report runs/first`
    """
    from kingyo.cli.advice import warn, warn_lost
    from kingyo.store import RunStore
    from kingyo.store.choices import read_choices
    from kingyo.views.page import write_report

    require_one_run(run)
    with RunStore.read(run) as store:
        warn_lost(store)
        report_errors(lambda: read_choices(run), warn, ())
        echo(f"Wrote {write_report(store, out)}")


def _print_trial(store: RunStore, reference: str, answers: int | None, as_json: bool) -> None:
    from kingyo.cli.advice import warn_lost
    from kingyo.cli.trials import print_trial, read_trial

    warn_lost(store)
    details = read_trial(store, reference, answers)
    if as_json:
        print_json(details.to_json())
    else:
        print_trial(details)


def print_spread(folder: Path, as_json: bool) -> None:
    """Print the spread over the runs of a folder."""
    from kingyo.results.seed_spread import read_seed_summary

    spread = read_seed_summary(folder)
    if as_json:
        print_json(spread.to_json())
        return
    for line in spread.sentences():
        echo(line)
