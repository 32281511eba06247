"""Graders that compare texts: exact, contains, regex."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kingyo.errors import KingyoError
from kingyo.tasks.grader import register_grader
from kingyo.types import Item


@register_grader("exact")
@dataclass(frozen=True, kw_only=True)
class Exact:
    """Right when the text is the answer.

    Attributes:
        case: whether upper and lower case differ.
        strip: whether white space around the text is ignored.
    """

    case: bool = True
    strip: bool = True

    def __call__(self, answer: str, item: Item) -> float:
        """Compare the whole text."""
        return float(self._form(answer) == self._form(item.answer))

    def _form(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text if self.case else text.casefold()


@register_grader("contains")
@dataclass(frozen=True, kw_only=True)
class Contains:
    """Right when the answer occurs in the text.

    Attributes:
        case: whether upper and lower case differ.
    """

    case: bool = True

    def __call__(self, answer: str, item: Item) -> float:
        """Look for the item's answer."""
        if self.case:
            return float(item.answer in answer)
        return float(item.answer.casefold() in answer.casefold())

    def check(self, item: Item) -> None:
        """Refuse an empty answer: every text contains it."""
        if not item.answer:
            raise KingyoError(
                f"item {item.id}",
                expected="an answer to look for",
                received="an empty one",
                remedy="Name the column of the answers with answer:, or take another grader.",
            )


@register_grader("regex")
@dataclass(frozen=True, kw_only=True)
class Regex:
    """Right when the last match's first group is the answer; without groups, when anything matches.

    Attributes:
        pattern: a regular expression of Python.
    """

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"a regular expression: {error}") from error

    def __call__(self, answer: str, item: Item) -> float:
        """Search the text."""
        matches = list(re.finditer(self.pattern, answer))
        if not matches or not matches[-1].re.groups:
            return float(bool(matches))
        return float((matches[-1].group(1) or "").strip() == item.answer.strip())
