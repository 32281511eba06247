"""The command line: one door to everything that kingyo does. It parses, calls a journey, and prints.

Nothing heavy is imported until a command needs it, so that ``kingyo --help`` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import cast

import typer

from kingyo import __version__
from kingyo.cli import diff, evaluate, init, layers, listing, merge, recipe, run
from kingyo.cli.as_json import json_alone, print_json
from kingyo.cli.terminal import echo, visible
from kingyo.errors import Interrupted, KingyoError, error_record, wants_json

_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])  # typer does not export it
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
        echo(f"kingyo {__version__}")
        raise typer.Exit


@app.callback()
def kingyo(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Breed new models out of existing ones: evolutionary model merging with the evidence for it."""


for module in (init, run, merge, recipe, diff, layers, evaluate, listing):
    module.add_to(app)


def main() -> None:
    """Run the command line; a mistake of the user's is one message and exit code 1, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when closed
            with suppress(OSError):  # closed below Python: what is printed will tell
                stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII is no reason to fail
    is_json = wants_json(sys.argv[1:])
    try:
        with json_alone() if is_json else nullcontext():
            code = _run(is_json)
    except BrokenPipeError:  # whoever read the answer went away
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        code = 1
    except OSError as error:
        echo(f"Error: {_told(error)}", err=True)
        code = 1
    sys.exit(code)


def _run(is_json: bool) -> int:
    """Run a command and return its exit code. Tell an error as JSON, or on standard error."""

    def tell(error: KingyoError | str, before: str = "") -> None:
        if is_json:
            print_json(error_record(error))
        else:
            echo(f"{before}{error}", err=True)

    try:
        code: object = app(standalone_mode=False)
    except KingyoError as error:
        tell(error, "Error: ")
        return error.exit_code
    except OSError as error:  # a full disk, a file that went away: the system's own words say it best
        tell(_told(error), "Error: ")
        return 1
    except Interrupted as error:
        tell(str(error))
        return error.exit_code
    except typer.Abort:
        tell("Aborted.")
        return 1
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    except _UsageError as error:
        _tell_misspelt(error, is_json=is_json)
        return 2
    except Exception as error:
        if is_json:
            print_json(error_record(f"{type(error).__name__}: {error}"))
        raise
    if code == Interrupted.exit_code:  # typer says nothing
        tell("Interrupted.")
    return code if isinstance(code, int) else 0


def _tell_misspelt(error: typer.BadParameter, *, is_json: bool) -> None:
    """Tell a misspelt command in typer's words."""
    from typer.rich_utils import rich_format_error

    error.message = visible(error.message)
    if not is_json:
        rich_format_error(error)
        return
    context = error.ctx
    command = "kingyo" if context is None else context.command_path
    print_json(error_record(error.format_message(), remedy=f"`{command} --help` says how it is written."))


def _told(error: OSError) -> str:
    """What to say of a failure of the system; one without a file is of a stream, most likely."""
    if error.filename is None and error.errno in _PRINTING:
        return (
            f"what there was to say could not be printed: {error.strerror}. Files that were written before "
            "are whole."
        )
    return f"{error}. Fix that, then run the command again."
