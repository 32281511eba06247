"""Print text that cannot control the terminal, and results and errors as one JSON document.

Answers of models, names of tensors and files, and exceptions may contain control characters, so commands
print with ``echo`` or ``kingyo.cli.console``. With ``--json`` all other output goes to standard error.
"""

import codecs
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar

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


DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of text."""
_CONTROL = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories: control, surrogate, private-use and unassigned characters, and line separators."""


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text to standard output or standard error.

    On standard error further lines are indented, so that a name with a line break cannot look like a message.
    """
    shown, stream = visible(str(text)), sys.stderr if err else sys.stdout
    if err:
        shown = shown.replace("\n", "\n  ")
    if stream is not None:  # None when closed
        print(shown, end="\n" if nl else "", file=stream, flush=True)


def visible(text: str) -> str:
    r"""Return a text with control characters escaped, such as ``\x1b``; whitespace and joiners stay."""
    return escaped(text, lambda each: each.encode("unicode_escape").decode())


def escaped(text: str, escape: Callable[[str], str]) -> str:
    """Return a text with each control character replaced by ``escape(character)``."""
    if text.isprintable():  # the common case
        return text
    return "".join(escape(each) if _is_control(each) else each for each in text)


def _is_control(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in _CONTROL or character in DIRECTIONS
