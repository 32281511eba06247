"""Run a search to its end, and print the summary of a run."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from kingyo.cli.as_json import print_json
from kingyo.cli.long_running import interruptible, note_if_slow
from kingyo.cli.terminal import echo

if TYPE_CHECKING:
    from kingyo.run.run import Run
    from kingyo.store import RunStore


def run_to_end(store: RunStore, run: Run | None, *, quiet: bool, command: str | None = None) -> None:
    """Run to the end with a live display on standard error.

    Args:
        store: the run, open for writing.
        run: the opened run of the store; None opens it.
        quiet: whether to hide the display.
        command: the command that continues after an interrupt. Default: ``kingyo resume``.

    Raises:
        Interrupted: the user stopped the run.
    """
    from kingyo.cli.advice import warn_lost
    from kingyo.cli.live_display import LiveDisplay, run_shown

    def message() -> str:
        resume = shlex.join(("kingyo", "resume", str(store.folder)))
        return f"Interrupted; all scores so far are stored. Continue with: {command or resume}"

    note_if_slow()
    warn_lost(store)
    with (
        redirect_stdout(sys.stderr),
        LiveDisplay(store, quiet=quiet) as display,
        interruptible(message),
    ):
        run_shown(store, run, display)


def finish(store: RunStore, run: Run | None = None, *, as_json: bool) -> None:
    """Run to the end, print the summary, and suggest the next commands."""
    run_to_end(store, run, quiet=as_json)
    print_run(store, as_json=as_json)
    if not as_json:
        folder = shlex.quote(str(store.folder))
        echo(f"\nNext: `kingyo report {folder}` or `kingyo export {folder} OUT`")


def print_run(store: RunStore, *, as_json: bool) -> None:
    """Print the summary of a run, and advice."""
    from kingyo.advice import advise
    from kingyo.cli.advice import print_advice
    from kingyo.cli.tables import print_summary
    from kingyo.results.summarize import summarize

    summary = summarize(store)
    advice = advise(store, summary)
    if as_json:
        print_json({**summary.to_json(), "advice": [each.to_json() for each in advice]})
    else:
        print_summary(summary)
        print_advice(advice)
