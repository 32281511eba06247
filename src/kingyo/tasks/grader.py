"""Graders: their protocol and registry, those that compare texts, and building and calling graders."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from kingyo.errors import KingyoError, crash
from kingyo.io.schema import parse_settings
from kingyo.registry import Registry
from kingyo.types import Item
from kingyo.user_code.timeout import TooSlowError, within


class Grader(Protocol):
    """Scores one answer: 1 is right, 0 is wrong, values between are partly right.

    A grader is a frozen dataclass whose fields are its options, or a function, which has no options. In the
    YAML ``{name: value}`` sets the first option and ``{name: {option: value}}`` any of them.
    """

    def __call__(self, answer: str, item: Item, /) -> float:
        """Return the score of a model's answer to an item."""
        ...


@runtime_checkable
class Checking(Protocol):
    """A grader that can reject an item before it grades any answer."""

    def check(self, item: Item, /) -> None:
        """Raise KingyoError if the grader cannot grade answers to this item."""
        ...


GRADERS: Registry[Callable[..., object]] = Registry("grader", "kingyo.tasks", "kingyo.graders")
"""Graders by name. Plug-ins use the entry point group ``kingyo.graders``."""

G = TypeVar("G", bound=Callable[..., object])


def register_grader(name: str) -> Callable[[G], G]:
    """Return a decorator that registers a built-in grader and keeps its type."""

    def put(grader: G) -> G:
        GRADERS.register(name)(grader)
        return grader

    return put


@register_grader("exact")
@dataclass(frozen=True, kw_only=True)
class Exact:
    """Right if the text equals the answer.

    Attributes:
        case: distinguish upper and lower case.
        strip: ignore white space around both texts.
    """

    case: bool = True
    strip: bool = True

    def __call__(self, answer: str, item: Item) -> float:
        """Compare the text with the item's answer."""
        return float(self._form(answer) == self._form(item.answer))

    def _form(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text if self.case else text.casefold()


@register_grader("contains")
@dataclass(frozen=True, kw_only=True)
class Contains:
    """Right if the text contains the answer.

    Attributes:
        case: distinguish upper and lower case.
    """

    case: bool = True

    def __call__(self, answer: str, item: Item) -> float:
        """Search the text for the item's answer."""
        if self.case:
            return float(item.answer in answer)
        return float(item.answer.casefold() in answer.casefold())

    def check(self, item: Item) -> None:
        """Reject an empty answer, which every text contains."""
        if not item.answer:
            raise KingyoError(
                f"item {item.id}",
                expected="an answer to search for",
                received="an empty answer",
                remedy="Set answer: to the column of the answers, or use another grader.",
            )


@register_grader("regex")
@dataclass(frozen=True, kw_only=True)
class Regex:
    """Right if the first group of the last match is the answer; a pattern without groups only has to match.

    Attributes:
        pattern: a Python regular expression.
    """

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"a regular expression: {error}") from error

    def __call__(self, answer: str, item: Item) -> float:
        """Search the text for the pattern."""
        matches = list(re.finditer(self.pattern, answer))
        if not matches or not matches[-1].re.groups:
            return float(bool(matches))
        return float((matches[-1].group(1) or "").strip() == item.answer.strip())


def build_grader(name: str, option: object, folder: Path) -> Grader:
    """Build a grader; its option is None, a mapping of options, or the first option's value."""
    kind: object = GRADERS.get(name, folder)
    if isinstance(kind, type) and is_dataclass(kind):
        return _callable(name, parse_settings(kind, _options(kind, option), f"grader.{name}"))
    if isinstance(kind, type) or not callable(cast(object, kind)):
        raise KingyoError(
            f"grader {name}",
            expected="a function or a dataclass",
            received=f"{kind!r:.80}",
            remedy="Put @dataclass(frozen=True) above the class, or name a function.",
        )
    if option is not None:
        raise KingyoError(
            f"grader.{name}",
            expected="no option, since it is a function",
            received=repr(option),
            remedy=f"Write only `{name}`, or make it a dataclass with this option.",
        )
    return _callable(name, cast(object, kind))


def _callable(name: str, grader: object) -> Grader:
    """Return the grader after checking that it accepts an answer and an item."""
    try:
        with suppress(ValueError):  # some callables written in C have no signature
            inspect.signature(cast(Grader, grader)).bind("the answer", "its item")
    except TypeError as error:
        raise KingyoError(
            f"grader {name}",
            expected="a callable that takes an answer and an item",
            received=str(error),
            remedy="Write it as `def grade(answer, item)`, or `__call__(self, answer, item)` of a dataclass.",
        ) from error
    return cast(Grader, grader)


def _options(kind: type[Any], option: object) -> Mapping[str, object]:
    if option is None or isinstance(option, Mapping):
        return cast("Mapping[str, object]", option or {})
    first = next((field.name for field in fields(kind)), "option")  # unknown, if the grader has none
    return {first: option}


def call_grader(
    name: str, call: Callable[..., object], question: tuple[Any, ...], timeout: float | None
) -> float:
    """Call a grader in this process and return its score; the last argument in ``question`` is the item."""
    where = f"grader {name} on item {question[-1].id}"
    try:
        score = within(timeout, partial(call, *question))
    except KingyoError:
        raise
    except TooSlowError as error:
        raise late(where, timeout) from error
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise crashed(where, f"{crash(error):.1000}") from error
    number = _number(score)
    if not 0 <= number <= 1:
        raise KingyoError(
            where,
            expected="true, false or a number from 0 to 1",
            received=f"{score!r:.200}",
            remedy="Make the grader return 1 for right, 0 for wrong, or a number between.",
        )
    return number


def call_check(grader: Grader, item: Item) -> float:
    """Call a grader's ``check`` and return 1, so that the call has a result like a score."""
    cast(Checking, grader).check(item)
    return 1.0


def late(where: str, timeout: float | None) -> KingyoError:
    """Return the error of a grader that takes too long."""
    return KingyoError(
        where,
        expected=f"a score within {timeout:g} s",
        received="none",
        remedy="Fix the grader, or increase the task's grader_timeout.",
    )


def crashed(where: str, reason: str) -> KingyoError:
    """Return the error of a grader that fails."""
    return KingyoError(
        where,
        expected="a score",
        received=reason,
        remedy="Fix the grader. It gets a text, possibly empty, and an item with prompt, answer and fields.",
    )


def _number(score: object) -> float:
    """Return a number, also from a numpy or torch scalar; NaN for anything else."""
    try:
        return math.nan if isinstance(score, str) else float(cast(float, score))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan
