"""Print the result or the error of a command as one JSON document on standard output.

With ``--json`` all other output goes to standard error, including that of graders, subprocesses and native
libraries. Objects that a command prints have a method ``to_json``, or a function whose name ends in
``_record``.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar

from kingyo.cli.terminal import echo, escaped
from kingyo.errors import Interrupted, KingyoError, error_record

_DOCUMENTS: ContextVar[list[str] | None] = ContextVar("_DOCUMENTS", default=None)
"""Documents to print when the command ends; None outside of ``only_json``."""


@contextmanager
def only_json() -> Generator[None]:
    """Redirect all output to standard error, and print only the last JSON document when the command ends."""
    documents: list[str] = []
    token = _DOCUMENTS.set(documents)
    try:
        with _stdout_to_stderr(), redirect_stdout(sys.stderr):
            yield
    finally:
        _DOCUMENTS.reset(token)
        if documents:
            echo(documents[-1])


def print_json(record: object) -> None:
    """Print data as JSON. Within ``only_json``, only the last document is printed."""
    text, documents = json_text(record), _DOCUMENTS.get()
    if documents is None:
        echo(text)
    else:
        documents.append(text)


@contextmanager
def errors_beside(record: Mapping[str, object]) -> Generator[None]:
    """Print an error as JSON together with the record so far, and exit with its code."""
    try:
        yield
    except (KingyoError, Interrupted) as error:
        reported = error if isinstance(error, KingyoError) else str(error)
        print_json({**error_record(reported), **record})
        sys.exit(error.exit_code)  # typer.Exit would report an interrupt a second time


def json_text(record: object) -> str:
    """Return data as JSON. NaN and infinity become null, and control characters are escaped."""
    is_ascii = sys.stdout is None or codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    try:
        text = json.dumps(record, ensure_ascii=is_ascii, indent=2, allow_nan=False)
    except ValueError:  # NaN or infinity
        finite: object = json.loads(json.dumps(record), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=is_ascii, indent=2)
    return escaped(text, _escape)


@contextmanager
def _stdout_to_stderr() -> Generator[None]:
    """Redirect descriptor 1 to descriptor 2; do nothing if one of them is closed."""
    stream = sys.stdout
    try:
        saved_fd = os.dup(1)
        stream.flush()
        os.dup2(2, 1)
    except (AttributeError, OSError):  # sys.stdout is None if it is closed
        yield
        return
    try:
        yield
    finally:
        stream.flush()  # output of other code
        os.dup2(saved_fd, 1)
        os.close(saved_fd)


def _escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
