"""The command line. Commands parse arguments, call the library, and print the result.

Heavy modules are imported inside the commands that need them, so that ``kingyo --help`` is fast.
"""

import io
import os
import sys
from contextlib import nullcontext, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import cast

import typer

from kingyo import __version__
from kingyo.cli.mergekit_flags import Merge
from kingyo.cli.options import as_command
from kingyo.cli.output import echo, only_json, print_json, visible
from kingyo.errors import Interrupted, KingyoError, error_record, wants_json

_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])  # typer does not export it

_COMMANDS = {
    "init": "init",
    "evolve": "evolve",
    "resume": "resume",
    "control": "resume",
    "tune": "resume",
    "show": "show",
    "report": "show",
    "rate": "rate",
    "export": "show",
    "merge": "merge",
    "recipe": "show",
    "scout": "scout",
    "diff": "diff",
    "layers": "diff",
    "evaluate": "evaluate",
    "chat": "evaluate",
    "draw": "draw",
    "list": "listing",
}
"""Name -> module, in the order of the help."""


def _version(is_given: bool) -> None:
    if is_given:
        echo(f"kingyo {__version__}")
        raise typer.Exit


def kingyo(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Evolutionary model merging: search for the best merge of your models, and measure how good it is."""


@cache
def _app(*names: str, is_help: bool = False) -> typer.Typer:
    """Return the command line with some commands; to import all takes longer than some of them run.

    For the help of the whole, commands have no options: those may need slow imports.
    """
    made = typer.Typer(
        name="kingyo",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(kingyo)
    for name in names:
        function = "show_list" if name == "list" else name
        command = getattr(import_module(f"kingyo.cli.{_COMMANDS[name]}"), function)
        if is_help:
            made.command(name, help=(command.__doc__ or "").partition("\n")[0])(_nothing)
        else:
            made.command(name, cls=Merge if name == "merge" else None)(as_command(command))
    return made


def _nothing() -> None: ...


def __getattr__(name: str) -> typer.Typer:
    if name != "app":
        raise AttributeError(name)
    return _app(*_COMMANDS)


def main() -> None:
    """Run the command line. A KingyoError is one message without a traceback, and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when closed
            with suppress(OSError):  # closed below Python; printing to it will fail later
                stream.reconfigure(errors="backslashreplace")  # for terminals without UTF-8
    is_json = wants_json(sys.argv[1:])
    try:
        with only_json() if is_json else nullcontext():
            code = _run(is_json)
    except BrokenPipeError:  # the reader of the output has closed it
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        code = 1
    except OSError as error:
        echo(f"Error: {error}", err=True)
        code = 1
    sys.exit(code)


def _run(is_json: bool) -> int:
    def report(error: KingyoError | str, prefix: str = "Error: ") -> None:
        if is_json:
            print_json(error_record(error))
        else:
            echo(f"{prefix}{error}", err=True)

    try:
        named = [name for name in sys.argv[1:2] if name in _COMMANDS]
        is_help = not named and "_KINGYO_COMPLETE" not in os.environ
        code: object = _app(*named or _COMMANDS, is_help=is_help)(standalone_mode=False)
    except KingyoError as error:
        report(error)
        return error.exit_code
    except OSError as error:  # such as a full disk
        report(f"{error}. Fix that, then run the command again.")
        return 1
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        report(str(error) or "Interrupted.", prefix="")
        return Interrupted.exit_code
    except _UsageError as error:
        _report_usage(error, is_json=is_json)
        return 2
    except Exception as error:
        if is_json:
            print_json(error_record(f"{type(error).__name__}: {error}"))
        raise
    if code == Interrupted.exit_code:  # typer prints nothing
        report("Interrupted.", prefix="")
    return code if isinstance(code, int) else 0


def _report_usage(error: typer.BadParameter, *, is_json: bool) -> None:
    from typer.rich_utils import rich_format_error

    error.message = visible(error.message)
    if not is_json:
        rich_format_error(error)
        return
    context = error.ctx
    command = "kingyo" if context is None else context.command_path
    print_json(error_record(error.format_message(), remedy=f"See `{command} --help`."))
