"""Print text with control characters escaped, so that it cannot control the terminal.

Answers of models, names of tensors and files, and exceptions may contain such characters. All commands print
with ``echo`` or with the console of ``kingyo.cli.console``.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

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
