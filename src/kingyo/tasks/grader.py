"""The grader protocol, building graders from a task's YAML, and checking the scores they return."""

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
from kingyo.io.schema import parse_settings
from kingyo.registry import Registry
from kingyo.tasks.grader_process import (
    GRADER_PROCESS,
    Action,
    CrashedError,
    GraderReference,
    Result,
    UnknownThereError,
    reference_to,
)
from kingyo.types import Item
from kingyo.user_code.timeout import TooSlowError, has_alarm, within


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

RUN_PATTERNS = frozenset({"regex"})
"""Built-in graders that run a user's pattern, which may never return. An alarm stops them on the main thread;
elsewhere they need another process, since Python holds its lock while it matches a pattern."""

G = TypeVar("G", bound=Callable[..., object])


def register_grader(name: str) -> Callable[[G], G]:
    """Return a decorator that registers a built-in grader and keeps its type."""

    def put(grader: G) -> G:
        GRADERS.register(name)(grader)
        return grader

    return put


@dataclass(frozen=True, kw_only=True)
class IsolatedGrader:
    """A grader that runs in another process, since only a kill stops it if it hangs.

    Attributes:
        grader: the same grader in this process.
        reference: identifies the grader for the other process.
        even_on_main_thread: use the other process on the main thread too, where an alarm could stop it.
    """

    grader: Grader
    reference: GraderReference
    even_on_main_thread: bool

    def __call__(self, answer: str, item: Item, /) -> float:
        """Score an answer in this process."""
        return self.grader(answer, item)


@dataclass(frozen=True, kw_only=True)
class CombinedGrader:
    """The product of several graders' scores.

    A grader may take ``timeout`` seconds per answer; None means no limit, with all graders in this process.
    """

    graders: tuple[tuple[str, Grader], ...]
    timeout: float | None = None

    def __call__(self, answer: str, item: Item) -> float:
        """Return the score of one answer; see ``grade``."""
        return self.grade([(answer, item)])[0]

    def grade(self, answers: Sequence[tuple[str, Item]]) -> list[float]:
        """Return the score of each answer; an answer with score 0 skips the remaining graders.

        Raises:
            KingyoError: a grader raised, timed out, crashed, or did not return a number in [0, 1].
        """
        scores = [1.0] * len(answers)
        for name, grader in self.graders:
            remaining = [index for index, score in enumerate(scores) if score]
            results = self._results_of(name, grader, "grade", [answers[index] for index in remaining])
            for index, score in zip(remaining, results, strict=True):
                scores[index] *= score
        return scores

    def check(self, items: Sequence[Item]) -> None:
        """Check that every grader can grade every item.

        Raises:
            KingyoError: a grader rejects an item, which the message names.
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
                    # The results end at the first error; `_score_of` raises it.
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
        specs: (name, option) pairs; an option is None, a mapping of options, or the first option's value.
        folder: base of relative paths in ``file.py:function``.
        timeout: seconds per answer and grader.

    Raises:
        KingyoError: an unknown name or option; the message suggests the nearest.
    """
    return CombinedGrader(
        graders=tuple((name, _isolated_if_needed(name, option, folder)) for name, option in specs),
        timeout=timeout,
    )


def _isolated_if_needed(name: str, option: object, folder: Path) -> Grader:
    """Build a grader; isolate it if it is the user's own or runs the user's pattern."""
    grader, is_own = build_grader(name, option, folder), not GRADERS.is_registered(name)
    if os.name != "posix" or not (is_own or name in RUN_PATTERNS):
        return grader
    return IsolatedGrader(
        grader=grader, reference=reference_to(name, option, folder), even_on_main_thread=is_own
    )


def build_grader(name: str, option: object, folder: Path) -> Grader:
    """Build one grader from its name and the option in the YAML; see ``build_verdict``."""
    kind = GRADERS.get(name, folder)
    if not callable(kind):
        raise KingyoError(
            f"grader {name}",
            expected="a function",
            received=type(kind).__name__,
            remedy="Name a function or a dataclass after the colon.",
        )
    if not isinstance(kind, type):
        if option is not None:
            raise KingyoError(
                f"grader.{name}",
                expected="no option, since it is a function",
                received=repr(option),
                remedy=f"Write only `{name}`, or make it a dataclass with this option.",
            )
        return _callable(name, kind)
    if not is_dataclass(kind):
        raise KingyoError(
            f"grader {name}",
            expected="a function or a dataclass",
            received=str(cast(object, kind)),
            remedy="Put @dataclass(frozen=True) above the class, or name a function.",
        )
    return _callable(name, parse_settings(kind, _options(kind, name, option), f"grader.{name}"))


def _callable(name: str, grader: object) -> Grader:
    """Return the grader after checking that its signature accepts an answer and an item."""
    try:
        inspect.signature(cast(Grader, grader)).bind("the answer", "its item")
    except ValueError:  # some callables written in C have no signature
        return cast(Grader, grader)
    except TypeError as error:
        raise KingyoError(
            f"grader {name}",
            expected="a callable that takes an answer and an item",
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
            f"grader.{name}", expected="no option", received=repr(option), remedy=f"Write only `{name}`."
        )
    return {names[0]: option}


def call_check(grader: Grader, item: Item) -> float:
    """Call a grader's ``check`` and return 1, so that the call has a result like a score."""
    cast(Checking, grader).check(item)
    return 1.0


def call_grader(name: str, grade: Callable[[], float], item: Item, timeout: float | None) -> float:
    """Call a grader in this process and return its score as a number.

    Args:
        name: the grader's name, for messages.
        grade: calls the grader.
        item: the graded item, for messages.
        timeout: seconds that the call may take.

    Raises:
        KingyoError: the grader raised, timed out, or did not return a number in [0, 1].
    """
    try:
        score = cast(object, within(timeout, grade))
    except KingyoError:
        raise
    except TooSlowError as error:
        raise _late(name, item, timeout) from error
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise _crashed(name, item, _short(crash(error))) from error
    number = _number(score)
    if number is None or not 0 <= number <= 1:
        raise KingyoError(
            _where(name, item),
            expected="true, false or a number from 0 to 1",
            received=_short(repr(score)),
            remedy="Make the grader return 1 for right, 0 for wrong, or a number between.",
        )
    return number


def _score_of(name: str, item: Item, result: Result, timeout: float) -> float:
    """Return the score of a result from the grader process, or raise like ``call_grader``."""
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
        remedy="Fix the grader, or increase the task's grader_timeout.",
    )


def _crashed(name: str, item: Item, reason: str) -> KingyoError:
    return KingyoError(
        _where(name, item),
        expected="a score",
        received=reason,
        remedy="Fix the grader so that it accepts any text.",
    )


def _short(text: str, limit: int = 1000) -> str:
    """Shorten a long text to its beginning and its end, for messages."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def _number(score: object) -> float | None:
    """Return a finite number, also from a numpy or torch scalar; None for anything else."""
    try:
        plain: object = score if isinstance(score, bool | int | float) else getattr(score, "item")()  # noqa: B009
        number = float(plain) if isinstance(plain, bool | int | float) else math.nan
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):  # no item(), or several
        return None
    return number if math.isfinite(number) else None
