"""Print the result or the error of a command as one JSON document on standard output.

With ``--json`` all other output goes to standard error, including that of graders, subprocesses and native
libraries. Objects that a command prints have a method ``to_json``, or a function that ends in ``_record``.
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
"""Documents to print when the command ends; None outside of ``json_alone``."""


@contextmanager
def json_alone() -> Generator[None]:
    """Redirect all output to standard error, and print only the last JSON document when the command ends."""
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
    """Print data as JSON. Within ``json_alone``, only the last document is printed."""
    text, held = json_text(record), _HELD.get()
    if held is None:
        echo(text)
    else:
        held.append(text)


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
def _descriptor_to_errors() -> Generator[None]:
    """Redirect descriptor 1 to descriptor 2; do nothing if one of them is closed."""
    stream = sys.stdout
    try:
        kept = os.dup(1)
        stream.flush()
        os.dup2(2, 1)
    except (AttributeError, OSError):  # sys.stdout is None if it is closed
        yield
        return
    try:
        yield
    finally:
        stream.flush()  # output of other code
        os.dup2(kept, 1)
        os.close(kept)


def _escape(character: str) -> str:
    """Return the JSON escape of a character; above U+FFFF, a surrogate pair."""
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
