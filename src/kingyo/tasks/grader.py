"""What a grader is, how the user's words become one, and the one place where its verdict is checked."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, cast, runtime_checkable

from kingyo.errors import KingyoError, crash
from kingyo.registry import Registry
from kingyo.strict import parse_settings
from kingyo.tasks.grader_process import (
    GRADER_PROCESS,
    Action,
    CrashedError,
    GraderReference,
    Result,
    UnknownThereError,
    reference_to,
)
from kingyo.timeout import TooSlowError, has_alarm, within
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

RUN_PATTERNS = frozenset({"regex"})
"""Built-in graders in which a user's pattern may take for ever. An alarm ends them on the main thread. Off
it they need another process, since no other thread runs while Python matches a pattern."""

G = TypeVar("G", bound=Callable[..., object])


def register_grader(name: str) -> Callable[[G], G]:
    """Return a decorator that registers a built-in grader and leaves its type as it is."""

    def put(grader: G) -> G:
        GRADERS.register(name)(grader)
        return grader

    return put


@dataclass(frozen=True, kw_only=True)
class IsolatedGrader:
    """A grader that is called in another process, since it may hang in a way that only a kill ends.

    Attributes:
        grader: the same in this process.
        reference: how another process finds it.
        even_on_main_thread: whether it is called there even on the main thread, where an alarm could end it.
    """

    grader: Grader
    reference: GraderReference
    even_on_main_thread: bool

    def __call__(self, answer: str, item: Item, /) -> float:
        """Score here."""
        return self.grader(answer, item)


@dataclass(frozen=True, kw_only=True)
class CombinedGrader:
    """Several graders that must all hold: the score is their product.

    Each may take ``timeout`` seconds on an answer; None is any time, and then all run in this process.
    """

    graders: tuple[tuple[str, Grader], ...]
    timeout: float | None = None

    def __call__(self, answer: str, item: Item) -> float:
        """Score an answer; see ``grade``."""
        return self.grade([(answer, item)])[0]

    def grade(self, answers: Sequence[tuple[str, Item]]) -> list[float]:
        """Score answers; later graders are not called for those whose score is 0.

        Raises:
            KingyoError: a grader raised, took too long, crashed, or returned no number in [0, 1].
        """
        scores = [1.0] * len(answers)
        for name, grader in self.graders:
            left = [index for index, score in enumerate(scores) if score]
            found = self._results_of(name, grader, "grade", [answers[index] for index in left])
            for index, score in zip(left, found, strict=True):
                scores[index] *= score
        return scores

    def check(self, items: Sequence[Item]) -> None:
        """Refuse items that a grader could never grade.

        Raises:
            KingyoError: names the item.
        """
        for name, grader in self.graders:
            if isinstance(grader.grader if isinstance(grader, IsolatedGrader) else grader, Checking):
                self._results_of(name, grader, "check", [(item,) for item in items])

    def _results_of(
        self, name: str, grader: Grader, action: Action, questions: Sequence[tuple[str, Item] | tuple[Item]]
    ) -> list[float]:
        if isinstance(grader, IsolatedGrader):
            if self.timeout is not None and questions and (grader.even_on_main_thread or not has_alarm()):
                with suppress(UnknownThereError):
                    results = GRADER_PROCESS.ask(grader.reference, action, questions, self.timeout)
                    # They end at the first error, which is raised here.
                    return [
                        _score_of(name, question[-1], result, self.timeout)
                        for question, result in zip(questions, results, strict=False)
                    ]
            grader = grader.grader
        call = cast("Callable[..., float]", grader if action == "grade" else partial(call_check, grader))
        return [
            call_grader(name, partial(call, *question), question[-1], self.timeout) for question in questions
        ]


def build_verdict(
    specs: Sequence[tuple[str, object]], folder: Path, timeout: float | None = None
) -> CombinedGrader:
    """Build the graders of a task.

    Args:
        specs: names with what the user wrote after them: None, a mapping of options or the first option.
        folder: where ``file.py:function`` is looked for.
        timeout: seconds that a grader may take on an answer.

    Raises:
        KingyoError: an unknown name or option; the nearest is suggested.
    """
    return CombinedGrader(
        graders=tuple((name, _isolated_if_needed(name, option, folder)) for name, option in specs),
        timeout=timeout,
    )


def _isolated_if_needed(name: str, option: object, folder: Path) -> Grader:
    """Build a grader, isolated if it may hang: graders of the package return by themselves."""
    grader, is_own = build_grader(name, option, folder), not GRADERS.is_registered(name)
    if os.name != "posix" or not (is_own or name in RUN_PATTERNS):
        return grader
    return IsolatedGrader(
        grader=grader, reference=reference_to(name, option, folder), even_on_main_thread=is_own
    )


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
    names = [field.name for field in fields(cast("type[CombinedGrader]", kind))]
    if not names:
        raise KingyoError(
            f"grader.{name}", expected="no option", received=repr(option), remedy=f"Write `{name}` alone."
        )
    return {names[0]: option}


def call_check(grader: Grader, item: Item) -> float:
    """Let a grader look at an item that it may have to refuse; return 1 where it does not."""
    cast(Checking, grader).check(item)
    return 1.0


def call_grader(name: str, grade: Callable[[], float], item: Item, timeout: float | None) -> float:
    """Return a grader's score as a number.

    Args:
        name: of the grader.
        grade: calls it.
        item: that it grades, for messages.
        timeout: seconds that it may take in this process.

    Raises:
        KingyoError: it raised, took too long, or returned no number in [0, 1].
    """
    try:
        score = cast(object, within(timeout, grade))
    except KingyoError:
        raise
    except TooSlowError as error:
        raise _late(name, item, timeout) from error
    except (Exception, SystemExit) as error:  # any crash of a user's function becomes one clear message
        raise _crashed(name, item, _short(crash(error))) from error
    number = _number(score)
    if number is None or not 0 <= number <= 1:
        raise KingyoError(
            _where(name, item),
            expected="true, false or a number from 0 to 1",
            received=_short(repr(score)),
            remedy="Let the grader return 1 for right, 0 for wrong, or a number between.",
        )
    return number


def _score_of(name: str, item: Item, result: Result, timeout: float) -> float:
    """Return the score in a result of another process, or raise as ``call_grader`` does."""
    if isinstance(result, TooSlowError):
        raise _late(name, item, timeout) from result
    if isinstance(result, CrashedError):
        raise _crashed(name, item, str(result)) from result
    if isinstance(result, KingyoError):
        raise result
    return result


def _where(name: str, item: Item) -> str:
    return f"grader {name} on item {item.id}"


def _late(name: str, item: Item, timeout: float | None) -> KingyoError:
    return KingyoError(
        _where(name, item),
        expected=f"a score within {timeout:g} s",
        received="none",
        remedy="Fix the grader, or let the task's grader_timeout be larger.",
    )


def _crashed(name: str, item: Item, how: str) -> KingyoError:
    return KingyoError(
        _where(name, item),
        expected="a score",
        received=how,
        remedy="Fix the grader so that it takes every text that a model may write.",
    )


def _short(text: str, limit: int = 1000) -> str:
    """A text of any length as a message holds it: its beginning and its end."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def _number(score: object) -> float | None:
    """A plain number, or a single one of numpy or torch; None for anything else."""
    try:
        plain: object = score if isinstance(score, bool | int | float) else getattr(score, "item")()  # noqa: B009
        number = float(plain) if isinstance(plain, bool | int | float) else math.nan
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):  # no item(), or of several
        return None
    return number if math.isfinite(number) else None
