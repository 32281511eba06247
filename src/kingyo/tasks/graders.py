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
