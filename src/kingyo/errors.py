"""The error that kingyo raises on purpose, its form as data, and suggestions for unknown names.

Every error names the argument, what was expected, what was received and what to do about it. Functions raise
it for bad input; a docstring mentions it only if a caller handles it.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_MAX_LISTED = 60


class KingyoError(ValueError):
    """A mistake that the user can fix: bad input, a missing file, models that do not fit together.

    Give the arguments in this order or by name: ``KingyoError("k", "a number above 0", "-1", "Raise k.")``.

    Args:
        argument: what is wrong, as the user knows it: a YAML key, a file, a flag.
        expected: a noun phrase, such as "a number above 0".
        received: a noun phrase or the value.
        remedy: what to do about it, in one sentence.
    """

    exit_code = 1

    def __init__(self, argument: str, expected: str, received: str, remedy: str) -> None:
        self.argument = argument
        self.expected = expected
        self.received = received
        self.remedy = remedy
        super().__init__(
            f"{argument}: expected {expected.rstrip('.')}; received {received.rstrip('.')}. {remedy}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.argument, self.expected, self.received, self.remedy)  # for other processes

    def placed(self, where: str) -> KingyoError:
        """Return the same error with its place in front: a file, an entry, the name of a recipe."""
        argument = f"{where}: {self.argument}" if self.argument else where
        return KingyoError(argument, self.expected, self.received, self.remedy)


class Interrupted(Exception):  # noqa: N818
    """The user stopped a command; the message says what is kept and how to continue."""

    exit_code = 130


class MistakesError(KingyoError):
    """Several mistakes, reported together.

    Args:
        argument: what contains them, such as a file.
        mistakes: two or more.
        expected: what it should be, as for ``KingyoError``.
    """

    def __init__(self, argument: str, mistakes: Sequence[KingyoError], expected: str) -> None:
        self.mistakes = tuple(mistakes)
        lines = "".join(f"\n  {i + 1}. {error}" for i, error in enumerate(self.mistakes))
        super().__init__(argument, expected, f"{len(self.mistakes)} mistakes", f"Fix these:{lines}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.argument, self.mistakes, self.expected)


Refuse = Callable[[KingyoError], None]
"""Report a mistake. If it returns, checks that do not depend on the mistake go on."""


def report_errors(call: Callable[[], T], report: Refuse, default: T) -> T:
    """Return what ``call`` returns; if it raises a KingyoError, report that and return ``default``."""
    try:
        return call()
    except MistakesError as error:
        for each in error.mistakes:
            report(each)
    except KingyoError as error:
        report(error)
    return default


def combined_error(argument: str, mistakes: Sequence[KingyoError], expected: str) -> KingyoError:
    """Return a single mistake unchanged, and several as one error."""
    return mistakes[0] if len(mistakes) == 1 else MistakesError(argument, mistakes, expected)


def crash(error: BaseException) -> str:
    """Describe an exception from the user's code, with file and line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 (the user's own exception class)
        text = f"its text failed: {type(failure).__name__}"
    return f"{type(error).__name__}: {text} ({last.filename} line {last.lineno})"


@contextmanager
def crashes_as_errors(argument: str, *, expected: str, remedy: str) -> Generator[None]:
    """Turn a crash of the user's code, but not a KingyoError, into a KingyoError."""
    try:
        yield
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        raise KingyoError(argument, expected, crash(error), remedy) from error


class ChangedSourceError(KingyoError):
    """A file that the run depends on changed while it ran."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether command-line arguments ask for JSON; the arguments may be invalid."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def error_record(error: KingyoError | str, **fields: str | None) -> Mapping[str, object]:
    """Return an error as data, as every command with ``--json`` prints it; unknown fields are null."""
    return {"error": _fields(error, fields)}


def _fields(error: KingyoError | str, fields: Mapping[str, str | None]) -> Mapping[str, object]:
    names = ("argument", "expected", "received", "remedy")
    known = {name: getattr(error, name) for name in names} if isinstance(error, KingyoError) else fields
    mistakes = error.mistakes if isinstance(error, MistakesError) else ()
    several = {"mistakes": [_fields(each, {}) for each in mistakes]} if mistakes else {}
    return {"message": str(error), **{name: known.get(name) for name in names}, **several}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a name, or None if none is similar."""
    likest_last = sorted(sorted(known), key=lambda each: sum(map(str.__eq__, each, name)))
    folded, by_folded = name.casefold(), {each.casefold(): each for each in likest_last}
    swapped = [each for each in by_folded if sorted(each) == sorted(folded)]  # the most common typing mistake
    same = [folded] if folded in by_folded else swapped
    near = [by_folded[each] for each in same or difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.5)]
    return near[0] if near else None


def suggest(name: str, known: Iterable[str], most: int = _MAX_LISTED) -> str:
    """Return "Did you mean 'x'?" for the nearest known name, or at most some names if none is similar."""
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f"Did you mean '{near}'?"
    return f"Known: {listed(names, most)}." if names else "There are none here."


def listed(names: Sequence[str], most: int) -> str:
    """Join names with commas; after ``most`` of them, give the number of the rest."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> KingyoError:
    return KingyoError(kind, "a known name", f"'{name}'", suggest(name, known))
