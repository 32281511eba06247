"""The commands that present a run: ``show`` and ``report``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import TRIALS, AsJson, RunFolder
from kingyo.cli.run import print_run, require_one_run
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, report_errors
from kingyo.io.units import counted, percent

if TYPE_CHECKING:
    from kingyo.results.seed_spread import SeedSummary
    from kingyo.stats import Interval
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
        raise KingyoError(
            "--answers",
            expected="--trial with it",
            received="no --trial",
            remedy="Add --trial, such as --trial 0.",
        )
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
    from kingyo.report import write_report
    from kingyo.store import RunStore
    from kingyo.store.choices import read_choices

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
    for line in (*_score_lines(spread), *_remarks(spread), *_choice(spread)):
        echo(line)


def _score_lines(spread: SeedSummary) -> Iterator[str]:
    by = spread.decided_by
    unit, points = ("", " points") if by is None else (f" of {by}", "")
    scores = ", ".join(percent(score) if by is None else f"{score:.4g}" for score in spread.bred)
    yield (
        f"{counted(len(spread.seeds), 'seed')} ({', '.join(map(str, spread.seeds))}): "
        f"the winner {'scores' if by is None else 'has'} {scores}{unit} on test."
    )
    mean = _points(spread.mean, is_share=by is None, sign="", unit="%")
    yield f"Mean {mean}{unit} (Student's t over the searches; the test items are the same)."
    for name, each in spread.ahead.items():
        yield f"bred − {name}: {_points(each, is_share=by is None)}{points}, paired by seed"


def _remarks(spread: SeedSummary) -> Iterator[str]:
    if spread.decided_by is None:
        yield (
            f"The prediction made before test was read held in {spread.predicted_inside} of "
            f"{counted(len(spread.seeds), 'run')}."
        )
    if spread.copied:
        yield f"{spread.copied:,} scores of baselines were copied from another seed instead of scored again."
    for seed, more in spread.extensions.items():
        yield f"Seed {seed} had {more}, so the seeds differ in cost."
    for seed, renewal in spread.renewals.items():
        yield f"Seed {seed}: {renewal}"
    for seed, warning in spread.lost.items():
        yield f"Warning: seed {seed}: {warning}"
    if spread.not_compared is not None:
        yield spread.not_compared


def _choice(spread: SeedSummary) -> Iterator[str]:
    """Suggest the seed to export: the best on validation, since test must not choose."""
    from kingyo.results.model_result import interval_in_words

    if len(spread.seeds) == 1:
        yield f"To export its winner: {spread.command}"
        return
    validation, test = (
        interval_in_words(spread.winner.counts_on(split), spread.decided_by)
        for split in ("validation", "test")
    )
    yield f"To export the best on validation, seed {spread.best}: {spread.command}"
    yield (
        f"Its {validation} on validation is the best of {len(spread.seeds)} so it is optimistic; on test "
        f"it {'scores' if spread.decided_by is None else 'has'} {test}."
    )


def _points(value: Interval, *, is_share: bool, sign: Literal["", "+"] = "+", unit: str = "") -> str:
    from kingyo.results.seed_spread import why_unbounded

    reason = why_unbounded(value)
    if reason is not None:
        score = f"{100 * value.score:{sign}.1f}{unit}" if is_share else f"{value.score:{sign}.4g}"
        return f"{score} [{reason}]"
    return value.in_percent(unit, sign) if is_share else value.plain(sign)
