"""The command line: one door to everything that kingyo does. It parses, calls a journey, and prints.

Nothing heavy is imported until a command needs it, so that ``kingyo --help`` answers at once.
"""

from __future__ import annotations

import errno
import io
import sys
from contextlib import suppress

import typer

from kingyo import __version__
from kingyo.cli import build, diff, init, layers, lists, models, recipes, runs
from kingyo.errors import KingyoError

_PRINTING = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG}

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


for module in (init, runs, build, recipes, diff, layers, models, lists):
    module.add_to(app)


def main() -> None:
    """Run the command line; a mistake of the user's is one message and exit code 1, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when closed
            with suppress(OSError):  # closed below Python: what is printed will tell
                stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII is no reason to fail
    try:
        app()
    except KingyoError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except OSError as error:  # a full disk, a file that went away: the system's own words say it best
        print(f"Error: {_told(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except SystemExit as end:
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):  # typer says nothing
            print("Interrupted.", file=sys.stderr)  # noqa: T201
        raise


def _told(error: OSError) -> str:
    """What to say of a failure of the system; one without a file is of a stream, most likely."""
    if error.filename is None and error.errno in _PRINTING:
        return (
            f"what there was to say could not be printed: {error.strerror}. Files that were written before "
            "are whole."
        )
    return f"{error}. Fix that, then run the command again."
