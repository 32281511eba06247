"""The command line: one door to everything that kingyo does. It parses, calls a journey, and prints.

Nothing heavy is imported until a command needs it, so that ``kingyo --help`` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading

import typer

from kingyo import __version__
from kingyo.cli import build, diff, init, lists, models, runs
from kingyo.errors import KingyoError

_QUICK = {"merge", "diff", "list"}  # the others run graders, whose files may still be open at the end

app = typer.Typer(
    name="kingyo",
    help="Breed new models out of existing ones: evolutionary model merging with the evidence for it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kingyo {__version__}")
        raise typer.Exit


@app.callback()
def kingyo(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Breed new models out of existing ones: evolutionary model merging with the evidence for it."""


for module in (init, runs, build, diff, models, lists):
    module.add_to(app)


def main() -> None:
    """Run the command line; a mistake of the user's is one message and exit code 1, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when closed
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII is no reason to fail
    try:
        app()
    except KingyoError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except OSError as error:  # a full disk, a file that went away: the system's own words say it best
        print(f"Error: {error}. Mend that, then run the command again.", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def process() -> None:
    """Be the process ``kingyo``: ``main``, without what Python does for programs that live longer."""
    gc.set_threshold(100_000)  # not to look for garbage again and again among all that importing torch makes
    try:
        main()
    except SystemExit as end:
        if _QUICK.intersection(sys.argv[1:2]) and isinstance(end.code, int):
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """End here, since Python takes half a second to take torch apart; return where it has more to do."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.flush()
    except OSError:  # Python has words and an exit code of its own for that
        return
    os._exit(code)
