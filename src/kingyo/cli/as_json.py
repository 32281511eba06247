"""The answer of a command as JSON: alone on standard output, errors too.

While a command that was asked for JSON runs, all else that is written to standard output goes to standard
error: prints of a grader, and what its subprocesses and libraries write to descriptor 1.
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
"""What is to be printed once the command is done."""


@contextmanager
def json_alone() -> Generator[None]:
    """Keep standard output for what ``print_json`` was given last; it is printed when the command is done."""
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
    """Print data as JSON; of several only the last, since there is one document."""
    text, held = json_text(record), _HELD.get()
    if held is None:
        echo(text)
    else:
        held.append(text)


def json_text(record: object) -> str:
    """Return data as JSON: numbers that are none are null, and nothing in it steers a terminal."""
    is_ascii = sys.stdout is None or codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    try:
        text = json.dumps(record, ensure_ascii=is_ascii, indent=2, allow_nan=False)
    except ValueError:  # NaN or infinity
        finite: object = json.loads(json.dumps(record), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=is_ascii, indent=2)
    return escaped(text, _escape)


@contextmanager
def _descriptor_to_errors() -> Generator[None]:
    """Let descriptor 1 be descriptor 2; where one of them is closed there is nothing to part."""
    stream = sys.stdout
    try:
        kept = os.dup(1)
        stream.flush()
        os.dup2(2, 1)
    except (AttributeError, OSError):  # of a closed one Python has None
        yield
        return
    try:
        yield
    finally:
        stream.flush()  # what others wrote to it
        os.dup2(kept, 1)
        os.close(kept)


def _escape(character: str) -> str:
    """An escape of JSON; beyond the first 65,536 characters a pair."""
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
