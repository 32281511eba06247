"""Helpers of all commands on runs: check the folder, run to the end, handle interrupts, print the summary."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.cli.output import echo, print_json
from kingyo.errors import Interrupted, KingyoError, report_errors

if TYPE_CHECKING:
    from kingyo.runs.run import Run
    from kingyo.store import RunStore
    from kingyo.views.rating.results import SplitRating


@contextmanager
def interruptible(message: Callable[[], str]) -> Generator[None]:
    """Turn Ctrl-C and SIGTERM into ``Interrupted``. Later signals are ignored, so that cleanup completes."""
    try:
        yield
    except KeyboardInterrupt:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(message()) from None


def note_if_slow() -> None:
    """Print a note on standard error if numba cannot be used."""
    from kingyo.merging.kernels.threads import compiler_trouble

    trouble = compiler_trouble()
    if trouble is not None:
        remedy = "Unset it." if "NUMBA_DISABLE_JIT" in trouble else "Run: pip install numba"
        echo(
            f"Note: numba {trouble}. Searches and large merges are slower without it; their results are the "
            f"same. {remedy}",
            err=True,
        )


def warn(error: KingyoError) -> None:
    """Warn on standard error about a mistake that does not stop the command."""
    echo(f"Warning: {error}", err=True)


def warn_lost(store: RunStore) -> None:
    """Warn on standard error about lost writes of the run database."""
    from kingyo.views.advice import lost_writes

    for each in lost_writes(store):
        echo(each.statement, err=True)


def note_versions(store: RunStore, action: str) -> None:
    """Print a note on standard error if versions differ from those of the scores; action is a participle."""
    from kingyo.runs.provenance import other_versions

    note = other_versions(store, action)
    if note is not None:
        echo(f"Note: {note}", err=True)


def run_to_end(store: RunStore, run: Run | None, *, quiet: bool, command: str | None = None) -> None:
    """Run to the end with a live display; after an interrupt name the command that continues."""
    from kingyo.api.runs import run_to_end as to_end
    from kingyo.cli.live_display import LiveDisplay
    from kingyo.runs.resume import is_complete

    resume = shlex.join(("kingyo", "resume", str(store.folder)))
    note_if_slow()
    warn_lost(store)
    is_done = is_complete(store)
    with (
        redirect_stdout(sys.stderr),
        LiveDisplay(quiet=quiet) as display,
        interruptible(
            lambda: f"Interrupted; all scores so far are stored. Continue with: {command or resume}"
        ),
    ):
        opened = to_end(store, run, display)
    if is_done and not quiet:
        flag = next(iter(opened.config.budget.model_dump(exclude_none=True))).replace("_", "-")
        echo(
            f"This run is finished: nothing is left to score. `{resume} --{flag} +N` extends its search.",
            err=True,
        )


def finish(store: RunStore, run: Run | None = None, *, as_json: bool, control: str | None = None) -> None:
    """Run to the end, and print the summary; for a control only what it adds."""
    run_to_end(store, run, quiet=as_json)
    print_run(store, as_json=as_json, control=control)


def print_run(store: RunStore, *, as_json: bool, control: str | None = None) -> None:
    """Print the summary of a run, advice, and the next commands; for a control only what it adds."""
    from kingyo.cli.tables import print_some, print_statements, print_summary
    from kingyo.views.advice import advise
    from kingyo.views.rating.results import read_ratings
    from kingyo.views.results.summary import summarize

    folder = shlex.quote(str(store.folder))
    commands = {
        "finished": f"`kingyo report {folder}` or `kingyo export {folder} OUT`",
        "stopped": f"`kingyo resume {folder}`",
    }
    then = commands.get(store.status(), f"`kingyo report {folder}` shows more of the results so far")
    summary = summarize(store)
    advice = advise(store, summary)
    ratings = report_errors(lambda: read_ratings(store, summary), warn, ())
    if as_json:
        people = {"people": {each.split: each.to_json() for each in ratings}} if ratings else {}
        print_json({**summary.to_json(), **people, "advice": [each.to_json() for each in advice]})
    elif control is not None and control in summary.controls:
        print_some(summary, [control], control, "missing", name=control)
        echo(f"\nNext: `kingyo show {folder}`, {then}")
    else:
        print_summary(summary)
        print_ratings(ratings)
        shown = [each for each in advice if summary.winner is None or each.kind != "progress"]
        print_statements(each.statement for each in shown)
        echo(f"\nNext: {then}")


def print_ratings(ratings: Sequence[SplitRating]) -> None:
    from kingyo.cli.console import Console, print_lines, print_rows
    from kingyo.views.rating.results import rating_note, rating_table, rating_title

    console = Console()
    for rating in ratings:
        head, rows = rating_table(rating)
        texts = [[each if isinstance(each, str) else " ".join(each) for each in row] for row in rows]
        title = f"{rating_title(rating)} [95% interval]"
        console.print()
        print_rows(console, head, texts, title=title, n_left=1, bold="bred")
        print_lines(console, rating_note(rating))


def require_one_run(run: Path) -> None:
    """Refuse the folder of several seeds; imported late, as the check is slow to import."""
    from kingyo.runs import seed_runs

    seed_runs.require_one_run(run)


def note_edited_file(store: RunStore) -> None:
    """Print a note on standard error if the run.yaml has changed since the run began."""
    from kingyo.core.io.yaml import read_yaml
    from kingyo.runs.config_file import asks_scout, load_config
    from kingyo.runs.setup import as_fact, stored_config

    name = store.fact("run_yaml")
    config, folder = stored_config(store)
    path = folder / str(name)
    if not isinstance(name, str) or not path.is_file():
        return
    try:
        data = read_yaml(path)
        by_scout = {"sources", "scout", "base", "merge", "controls"} if asks_scout(data) else set[str]()
        known = {"sources": config.sources, "controls": config.controls} if by_scout else {}
        current = as_fact(load_config(path, {**data, **known}))
    except KingyoError:  # a genome file, or one that cannot be read now
        return
    stored = as_fact(config)
    keys = {*current, *stored} - {"seed", "name"} - by_scout
    changed = sorted(key for key in keys if current.get(key) != stored.get(key))
    if changed:
        echo(
            f"Note: {path} has changed since the run began; the run continues with its stored copy. Changed: "
            f"{', '.join(changed)}. Only the budget can be extended, with flags such as --candidates +60; "
            "other changes need a new run.",
            err=True,
        )
