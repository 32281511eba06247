"""The answer of a command as one JSON document on standard output, or its error.

With ``--json`` everything else that is written to standard output goes to standard error: what a grader
prints, and what its subprocesses and libraries write to descriptor 1.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar

from kingyo.cli.terminal import echo, escaped

_HELD: ContextVar[list[str] | None] = ContextVar("_HELD", default=None)
"""Documents that are held back until the command ends; None where none is."""


@contextmanager
def json_alone() -> Generator[None]:
    """Hold back what ``print_json`` is given, and print the last of it when the command ends.

    All other output goes to standard error.
    """
    held: list[str] = []
    token = _HELD.set(held)
    try:
        with _descriptor_to_errors(), redirect_stdout(sys.stderr):
            yield
    finally:
        _HELD.reset(token)
        if held:
            echo(held[-1])


def print_json(record: object) -> None:
    """Print data as JSON. Within ``json_alone`` only the last document is printed."""
    text, held = json_text(record), _HELD.get()
    if held is None:
        echo(text)
    else:
        held.append(text)


def json_text(record: object) -> str:
    """Return data as JSON. NaN and infinity are null, and characters that steer a terminal are escaped."""
    is_ascii = sys.stdout is None or codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    try:
        text = json.dumps(record, ensure_ascii=is_ascii, indent=2, allow_nan=False)
    except ValueError:  # NaN or infinity
        finite: object = json.loads(json.dumps(record), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=is_ascii, indent=2)
    return escaped(text, _escape)


@contextmanager
def _descriptor_to_errors() -> Generator[None]:
    """Point descriptor 1 to where descriptor 2 points; do nothing where one of them is closed."""
    stream = sys.stdout
    try:
        kept = os.dup(1)
        stream.flush()
        os.dup2(2, 1)
    except (AttributeError, OSError):  # sys.stdout is None where it is closed
        yield
        return
    try:
        yield
    finally:
        stream.flush()  # what others wrote to it
        os.dup2(kept, 1)
        os.close(kept)


def _escape(character: str) -> str:
    """Return a character as an escape of JSON; one beyond U+FFFF becomes a surrogate pair."""
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
