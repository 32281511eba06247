"""Helpers of all commands on runs: check the folder, run to the end, handle interrupts, print the summary."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.cli.output import echo, print_json
from kingyo.errors import Interrupted, KingyoError, report_errors

if TYPE_CHECKING:
    from kingyo.api.results import StoredRun
    from kingyo.cli.live_display import LiveDisplay
    from kingyo.store import RunStore


@contextmanager
def interruptible(message: str) -> Generator[None]:
    """Turn Ctrl-C and SIGTERM into ``Interrupted``. Later signals are ignored, so that cleanup completes."""
    try:
        yield
    except KeyboardInterrupt:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(message) from None


def note_if_slow() -> None:
    """Print a note on standard error if numba cannot be used."""
    from kingyo.merging.kernels.threads import compiler_trouble

    trouble = compiler_trouble()
    if trouble is not None:
        echo(f"Note: numba {trouble}. Without it searches and large merges are slower.", err=True)


def warn(error: KingyoError) -> None:
    """Warn on standard error about a mistake that does not stop the command."""
    echo(f"Warning: {error}", err=True)


def opened(run: Path) -> StoredRun:
    """Return a run, whose path stays as the user wrote it; warn on standard error about its lost writes."""
    from kingyo.api.results import StoredRun
    from kingyo.runs.seed_runs import require_one_run
    from kingyo.store import RunStore
    from kingyo.views.advice import lost_writes

    require_one_run(run)
    with RunStore.read(run) as store:
        for each in lost_writes(store):
            echo(each.statement, err=True)
    return StoredRun(folder=run)


def note_versions(store: RunStore, action: str) -> None:
    """Print a note on standard error if versions differ from those of the scores; action is a participle."""
    from kingyo.runs.provenance import other_versions

    note = other_versions(store, action)
    if note is not None:
        echo(f"Note: {note}", err=True)


@contextmanager
def displayed(run: Path, *, quiet: bool, command: str | None = None) -> Generator[LiveDisplay]:
    """Display how a run goes on; after an interrupt name the command that continues."""
    from kingyo.cli.live_display import LiveDisplay

    again = command or shlex.join(("kingyo", "resume", str(run)))
    note_if_slow()
    with redirect_stdout(sys.stderr), LiveDisplay(quiet=quiet) as display:
        try:
            yield display
        except KeyboardInterrupt as error:  # without a message if nothing has begun
            begun = f"Interrupted; all scores so far are stored. Continue with: {again}"
            with interruptible(begun if error.args else "Interrupted."):
                raise


@contextmanager
def continued(
    run: Path, *, quiet: bool, command: str | None = None
) -> Generator[tuple[StoredRun, LiveDisplay]]:
    """Return a stored run, and what displays how it goes on."""
    own = opened(run)
    with displayed(run, quiet=quiet, command=command) as display:
        yield own, display


def print_run(store: RunStore, *, as_json: bool) -> None:
    from kingyo.cli.tables import print_ratings, print_statements, print_summary
    from kingyo.views.advice import advise
    from kingyo.views.rating.results import read_ratings
    from kingyo.views.results.plain_data import plain_data
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
        people = {"people": {each.split: plain_data(each) for each in ratings}} if ratings else {}
        print_json({**summary.to_json(), **people, "advice": plain_data(advice)})
        return
    print_summary(summary)
    print_ratings(ratings)
    print_statements(each.statement for each in advice)
    echo(f"\nNext: {then}")


def note_edited_file(run: Path) -> None:
    """Print a note on standard error if the run.yaml has changed since the run began."""
    from kingyo.core.io.yaml import read_yaml
    from kingyo.runs.config_file import asks_scout, load_config
    from kingyo.runs.setup import as_fact, stored_config
    from kingyo.store import RunStore

    with RunStore.read(run) as store:
        config, folder = stored_config(store)
        path = folder / str(store.fact("run_yaml"))
    try:
        data = read_yaml(path)
        current, stored = as_fact(load_config(path, data)), as_fact(config)
    except KingyoError:  # no file, a genome file, or one that cannot be read now
        return
    keys = {*current, *stored} - {"seed", "name"}
    changed = sorted(key for key in keys if current.get(key) != stored.get(key))
    if changed and not asks_scout(data):
        echo(
            f"Note: {path} has changed since the run began ({', '.join(changed)}); the run continues with "
            "its stored copy. Only the budget can be extended, with flags such as --candidates +60.",
            err=True,
        )
