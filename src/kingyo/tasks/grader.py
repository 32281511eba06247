"""What a grader is, how the user's words become one, and the one place where its verdict is checked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, cast, runtime_checkable

from kingyo.errors import KingyoError, crash
from kingyo.registry import Registry
from kingyo.strict import parse_settings
from kingyo.tasks.timeout import TooSlowError, within
from kingyo.types import Item


class Grader(Protocol):
    """Judges one answer: 1 is right, 0 is wrong, anything between is partly right.

    A grader is a frozen dataclass whose fields are its options, declared once; ``{name: value}`` in the YAML
    sets the first. A plain function without options is a grader too.
    """

    def __call__(self, answer: str, item: Item, /) -> float:
        """Score the text that a model answered to an item."""
        ...


@runtime_checkable
class Checking(Protocol):
    """A grader that can tell beforehand that an item is not for it."""

    def check(self, item: Item, /) -> None:
        """Raise KingyoError when no answer to this item could be graded."""
        ...


GRADERS: Registry[Callable[..., object]] = Registry("grader", "kingyo.tasks", "kingyo.graders")
"""Every grader by name. Plug-ins: entry points of the group ``kingyo.graders``."""

G = TypeVar("G", bound=Callable[..., object])


def register_grader(name: str) -> Callable[[G], G]:
    """Return a decorator that registers a built-in grader and leaves its type as it is."""

    def put(grader: G) -> G:
        GRADERS.register(name)(grader)
        return grader

    return put


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Several graders that must all hold: the score is their product.

    Each may take ``timeout`` seconds on an answer; None is any time.
    """

    graders: tuple[tuple[str, Grader], ...]
    timeout: float | None = None

    def __call__(self, answer: str, item: Item) -> float:
        """Score an answer; later graders are not asked once the score is 0.

        Raises:
            KingyoError: a grader raised, took too long, or returned no number in [0, 1].
        """
        score = 1.0
        for name, grader in self.graders:
            score *= _asked(name, partial(grader, answer, item), item, self.timeout)
            if score == 0:
                break
        return score

    def check(self, items: Sequence[Item]) -> None:
        """Refuse items that a grader could never grade.

        Raises:
            KingyoError: names the item.
        """
        for _, grader in self.graders:
            if isinstance(grader, Checking):
                for item in items:
                    grader.check(item)


def build_verdict(specs: Sequence[tuple[str, object]], folder: Path, timeout: float | None = None) -> Verdict:
    """Build the graders of a task.

    Args:
        specs: names with what the user wrote after them: None, a mapping of options or the first option.
        folder: where ``file.py:function`` is looked for.
        timeout: seconds that a grader may take on an answer.

    Raises:
        KingyoError: an unknown name or option; the nearest is suggested.
    """
    graders = tuple((name, build_grader(name, option, folder)) for name, option in specs)
    return Verdict(graders=graders, timeout=timeout)


def build_grader(name: str, option: object, folder: Path) -> Grader:
    """Build one grader from its name and what the user wrote after it."""
    found = GRADERS.get(name, folder)
    if not callable(found):
        raise KingyoError(
            f"grader {name}",
            expected="a function",
            received=type(found).__name__,
            remedy="Name a function or a dataclass after the colon.",
        )
    if not isinstance(found, type):
        if option is not None:
            raise KingyoError(
                f"grader.{name}",
                expected="no option: it is a function",
                received=repr(option),
                remedy=f"Write `{name}` alone, or make it a dataclass with this option.",
            )
        return _callable(name, found)
    if not is_dataclass(found):
        raise KingyoError(
            f"grader {name}",
            expected="a function or a dataclass",
            received=str(cast(object, found)),
            remedy="Put @dataclass(frozen=True) above the class, or name a function.",
        )
    return _callable(name, parse_settings(found, _options(found, name, option), f"grader.{name}"))


def _callable(name: str, grader: object) -> Grader:
    """Return a grader that takes an answer and its item, as far as its signature tells."""
    try:
        inspect.signature(cast(Grader, grader)).bind("the answer", "its item")
    except ValueError:  # of some that are written in C nothing is known
        return cast(Grader, grader)
    except TypeError as error:
        raise KingyoError(
            f"grader {name}",
            expected="a call with an answer and its item",
            received=str(error),
            remedy="Write it as `def grade(answer, item)`, or `__call__(self, answer, item)` of a dataclass.",
        ) from error
    return cast(Grader, grader)


def _options(kind: type, name: str, option: object) -> Mapping[str, object]:
    if option is None:
        return {}
    if isinstance(option, Mapping):
        return cast("Mapping[str, object]", option)
    names = [field.name for field in fields(cast("type[Verdict]", kind))]
    if not names:
        raise KingyoError(
            f"grader.{name}", expected="no option", received=repr(option), remedy=f"Write `{name}` alone."
        )
    return {names[0]: option}


def _asked(name: str, grade: Callable[[], float], item: Item, timeout: float | None) -> float:
    where = f"grader {name} on item {item.id}"
    try:
        score = cast(object, within(timeout, grade))
    except KingyoError:
        raise
    except TooSlowError as error:
        raise KingyoError(
            where,
            expected=f"a score within {timeout:g} s",
            received="none",
            remedy="Fix the grader, or let the task's grader_timeout be larger.",
        ) from error
    except (Exception, SystemExit) as error:  # any crash of a user's function becomes one clear message
        raise KingyoError(
            where,
            expected="a score",
            received=crash(error),
            remedy="Fix the grader so that it takes every text that a model may write.",
        ) from error
    number = _number(score)
    if number is None or not 0 <= number <= 1:
        raise KingyoError(
            where,
            expected="true, false or a number from 0 to 1",
            received=repr(score),
            remedy="Let the grader return 1 for right, 0 for wrong, or a number between.",
        )
    return number


def _number(score: object) -> float | None:
    """A plain number, or a single one of numpy or torch; None for anything else."""
    try:
        plain: object = score if isinstance(score, bool | int | float) else getattr(score, "item")()  # noqa: B009
    except (AttributeError, TypeError, ValueError, RuntimeError):  # no such method, or more than one element
        return None
    return float(plain) if isinstance(plain, bool | int | float) and math.isfinite(plain) else None
