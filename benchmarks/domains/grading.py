"""Graders with partial credit. What they give for the easier half is a plateau that a search must leave."""

from __future__ import annotations

import re

from kingyo.core.types import Item
from kingyo.tasks.graders.language import Language

FORMAT = re.compile(r'\{"answer": "[^"]*"\}')
JAPANESE = Language(code="ja")


def japanese_number(answer: str, item: Item) -> float:
    """Give 0.3 for Japanese, 0.5 for the right number, 1 for both."""
    return _sum(JAPANESE(answer, item), 0.3, _last_number(answer) == item.answer, 0.5)


def steps(answer: str, item: Item) -> float:
    """Give 0.5 for the right number, and 0.5 for the share of the item's steps that were written."""
    wanted = [each.strip() for each in item.fields["steps"].split(";")]
    written = sum(each in answer for each in wanted) / len(wanted)
    return 0.5 * (_last_number(answer) == item.answer) + 0.5 * written


def house(answer: str, item: Item) -> float:
    """Give 0.3 for the house format, 0.5 for the right value, 1 for both."""
    has_value = re.search(rf"\b{re.escape(item.answer)}\b", answer) is not None
    return _sum(FORMAT.fullmatch(answer.strip()) is not None, 0.3, has_value, 0.5)


def shout(answer: str, item: Item) -> float:
    """Give 0.3 for capitals with an exclamation mark at the end, 0.5 for the right value, 1 for both."""
    is_loud = answer.strip().endswith("!") and answer == answer.upper()
    has_value = re.search(rf"\b{re.escape(item.fields['value'])}\b", answer, re.IGNORECASE) is not None
    return _sum(is_loud, 0.3, has_value, 0.5)


def knows(answer: str, item: Item) -> bool:
    """Give 1 for the right value, in whatever form."""
    return re.search(rf"\b{re.escape(item.answer)}\b", answer) is not None


def _sum(first: float, its_share: float, second: float, other_share: float) -> float:
    return 1.0 if first and second else its_share * first + other_share * second


def _last_number(answer: str) -> str:
    return next(iter(reversed(re.findall(r"\d+", answer))), "")
