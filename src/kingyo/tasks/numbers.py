"""The last number of a text, however it is written, and the grader that compares it.

Understood: thousands (1,234), decimals, signs (-, −, full-width), full-width digits, a tight fraction
(3/4), a short exponent (1e3), the multipliers 百千万億兆 after digits (1万5000), and whatever stands around
(17個, $5, 50%).
Not understood, on purpose: numbers in words (seventeen, 十七: a 一 is more often no number), decimal commas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from kingyo.errors import KingyoError
from kingyo.tasks.grader import register_grader
from kingyo.types import Item

_MULTIPLIERS = {"百": 10**2, "千": 10**3, "万": 10**4, "億": 10**8, "兆": 10**12}
# Unicode NFKC would do this too, but it also turns cm² into cm2, whose 2 is no number.
_ASCII = {full: full - 0xFEE0 for full in range(0xFF01, 0xFF5F)} | {0x2212: ord("-"), 0x2013: ord("-")}

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?![\d]|,\d)|\d+)(?:\.\d+)?"
_NUMBER = re.compile(
    rf"(?<![A-Za-z^\d.])(?P<number>(?:{_PLAIN}|\.\d+)"  # cm2, x2 and 2^10 hold no number of their own
    rf"(?:[eE][-+]?\d{{1,3}}(?![A-Za-z\d]))?(?:/(?P<below>{_PLAIN})(?!/|\d))?)"
    rf"(?P<more>[百千万億兆](?:{_PLAIN}[百千万億兆])*(?:\d+)?)?"
)
_PART = re.compile(rf"({_PLAIN})?([百千万億兆])?")


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text, or None when it has none.

    A sign belongs to the number unless something stands before it to subtract from: the last number of
    "12-3" is 3, of "= -3" it is −3.
    """
    plain = text.translate(_ASCII)
    found: Fraction | None = None
    for match in _NUMBER.finditer(plain):
        value = _value(match, in_date=plain[: match.start()].endswith("/"))
        if value is not None:
            found = -value if _is_negative(plain, match.start()) else value
    return found


@register_grader("number")
@dataclass(frozen=True, kw_only=True)
class Number:
    """Right when the last number of the text equals the last number of the answer.

    Attributes:
        tolerance: the largest difference that still counts as equal.
    """

    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __call__(self, answer: str, item: Item) -> float:
        """Compare two numbers exactly, or within the tolerance."""
        given, right = last_number(answer), last_number(item.answer)
        if given is None or right is None:
            return 0.0
        return float(abs(given - right) <= Fraction(repr(float(self.tolerance))))

    def check(self, item: Item) -> None:
        """Refuse an answer without a number."""
        if last_number(item.answer) is None:
            raise KingyoError(
                f"answer of item {item.id}",
                expected="a number, for the grader `number`",
                received=repr(item.answer),
                remedy="Write it in digits, or choose another grader.",
            )


def _value(match: re.Match[str], *, in_date: bool) -> Fraction | None:
    above, _, below = match["number"].replace(",", "").partition("/")
    if in_date and below:  # 1/2/2024 is no fraction
        above, below = below, ""
    try:
        value = Fraction(above) / (Fraction(below) if below else 1)
    except (ValueError, ZeroDivisionError):  # thousands of digits; a division by zero
        return None
    return value if not match["more"] else _multiplied(value, match["more"])


def _multiplied(first: Fraction, more: str) -> Fraction:
    """1万2千 is 12,000: each multiplier takes the number before it, the rest is added."""
    total = first * _MULTIPLIERS[more[0]]
    for digits, unit in _PART.findall(more[1:]):
        if digits:
            total += Fraction(digits.replace(",", "")) * _MULTIPLIERS.get(unit, 1)
    return total


def _is_negative(text: str, start: int) -> bool:
    before = text[:start]
    before = before.removesuffix("$").removesuffix("¥").rstrip()
    if not before.endswith("-"):
        return False
    rest = before[:-1]
    subtracted_from = rest.rstrip()[-1:]
    return not (subtracted_from.isdecimal() or subtracted_from in tuple(")%") or _is_letter(rest[-1:]))


def _is_letter(character: str) -> bool:
    """A Latin letter right before the sign: x-3. In Japanese, signs follow letters: 答えは-3."""
    return character.isascii() and character.isalpha()
