"""Machine code, which numba makes on first use and keeps on disk: of functions, or of each loop's text."""

# pyright: basic, reportReturnType=false

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile without the interpreter's lock; keep the machine code on disk where there is a place for it."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True, error_model="numpy")(function)


class Described:
    """A function that has machine code of its own for each text of a loop.

    Args:
        function: in the subset of Python that numba compiles; its first argument is the text.
        kinds: the types of its other arguments.
    """

    def __init__(self, function: Callable[..., object], *kinds: types.Type) -> None:
        self._compiled: Any = compiled(function)
        self._types = kinds
        self._entries: dict[str, Callable[..., Any]] = {}
        self._lock = Lock()

    def __call__(self, text: str, *arguments: object) -> Any:
        """Run the code of a text."""
        entry = self._entries.get(text)
        if entry is None:
            entry = self._entry(text)
        return entry(text, *arguments)

    def _entry(self, text: str) -> Callable[..., Any]:
        with self._lock:  # threads that begin together make it once
            if text not in self._entries:
                self._entries[text] = self._make(f"{text}\n# {_made_of()}")
            return self._entries[text]

    def _make(self, text: str) -> Callable[..., Any]:
        signature = (types.literal(text), *self._types)
        self._compiled.compile(signature)
        return self._compiled.get_overload(signature)


@cache
def _made_of() -> str:
    """Return a digest of this room's code: numba knows one file alone, and keeps what it made of a text."""
    sources = (file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]
