"""Where text goes to a terminal: characters that would steer it are shown, not obeyed.

Answers of models, names of tensors and files, and texts of exceptions may hold any. All of the command line
prints through ``echo``, or through the console of ``kingyo.cli.console``.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change in which direction others are written."""
_STEERING = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode: controls, what no font can have, and separators of lines."""


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text to standard output, or to standard error, where further lines are set in.

    So a name with a line break cannot pass for a message of its own.
    """
    shown, stream = visible(str(text)), sys.stderr if err else sys.stdout
    if err:
        shown = shown.replace("\n", "\n  ")
    if stream is not None:  # None when closed
        print(shown, end="\n" if nl else "", file=stream, flush=True)


def visible(text: str) -> str:
    r"""Return a text with characters that would steer a terminal written out, such as ``\x1b``.

    Line breaks, tabs, spaces of all kinds, joiners and the like stay as they are.
    """
    return escaped(text, lambda each: each.encode("unicode_escape").decode())


def escaped(text: str, shown: Callable[[str], str]) -> str:
    """Return a text with each character that would steer a terminal replaced by ``shown(character)``."""
    if text.isprintable():  # most are
        return text
    return "".join(shown(each) if _steers(each) else each for each in text)


def _steers(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in _STEERING or character in DIRECTIONS
