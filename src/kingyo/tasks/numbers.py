r"""The last number of a text, however it is written, and the grader that compares it.

``docs/graders.md`` has a table of what is understood, which is also the test. In short: the last number
counts, or the last one of the last ``\boxed{}`` where there is one. What may mean two things is not guessed
at: if the last thing like a number is unclear (``1,5``, ``12:30``, ``\sqrt{2}``), the text has no number.

A text is first rewritten so that there is one way to say a thing (``_plain``): LaTeX fractions, ``½``, ``³``
and full-width characters become ASCII, what is no plain number becomes ``_UNCLEAR``. Then the last match of
``_NUMBER`` is read. Both take time in proportion to the text, and what is too large is unclear.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from kingyo.errors import KingyoError
from kingyo.tasks.grader import register_grader
from kingyo.types import Item

_MOST_DIGITS = 1000
_UNCLEAR = "\ue000"  # stands for what is no plain number, and whose parts are not to be read as one
_JOIN = "\u2064"  # stands before a fraction that was one sign: joins it to a whole number before it
_THIN = "\u2009"  # a space that only groups digits
_SPACES = " \t\u3000" + _THIN
_NEAR = 40  # characters before a number that say whether it has a sign

_SMALL = {"百": 10**2, "千": 10**3, "hundred": 10**2}
_LARGE = {
    **{"万": 10**4, "億": 10**8, "亿": 10**8, "兆": 10**12, "京": 10**16},
    **{"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
}
_SHORT = {"k": 10**3, "bn": 10**9, "tn": 10**12}
_OF_MONEY = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12, "bn": 10**9, "tn": 10**12}
_MONEY = "$¥€£₩₹"

# Unicode NFKC would do this too, but it also turns cm² into cm2, whose 2 is no number.
_CHARACTERS: dict[int, str] = {
    **{full: chr(full - 0xFEE0) for full in range(0xFF01, 0xFF5F)},
    **dict.fromkeys(map(ord, "\uff0d\ufe63"), "−"),
    **dict.fromkeys(range(0x2010, 0x2016), "-"),  # hyphens and dashes
    **dict.fromkeys(map(ord, "\u00a0\u202f"), _THIN),
    **dict.fromkeys(map(ord, "\u2044\u2215"), "/"),
    **dict.fromkeys(map(ord, "√∛π∞±"), _UNCLEAR),
    **{ord("ｰ"): "ー", ord("￥"): "¥", ord("’"): "'"},
    **{
        ord(sign): f"{_JOIN}{Fraction(unicodedata.numeric(sign)).limit_denominator(10)}"
        for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
    },
}
_WRITTEN = (
    (r"(?:マイナス|(?i:\bnegative)\s)\s?(?=[\d.$¥€£])", "−"),
    (r"(?i:\bminus)\s(?=[\d.$¥€£])", "- "),
)
_LATEX = (
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\{,\}", ","),
    (r"\\,", _THIN),
    (r"\\!|\\left(?![A-Za-z])|\\right(?![A-Za-z])", ""),
    (r"\\([%$])", r"\1"),
    (r"\\(?:times|cdot)(?![A-Za-z])", "×"),
    (r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}", r"\1"),
    (r"\^\s*\{?\s*\\circ\s*\}?", "°"),
    (r"\^\s*\{\s*([-+−]?\d+)\s*\}", r"^\1"),
    (r"_\{[^{}]*\}", ""),
    (r"\\sqrt\s*(?:\[[^\[\]]*\])?\s*(?:\{[^{}]*\}|\d)", _UNCLEAR),
    (r"\\(?:log|ln|exp|sin|cos|tan|binom|overline|pi|infty|pm)(?![A-Za-z])", _UNCLEAR),
)
_LATEX_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_LATEX_REST = ((r"\\(?:frac|sqrt)[^=\n$]*", _UNCLEAR), (r"\\[A-Za-z]+|\\[;: ]", " "))
_NESTED = 4  # how deep fractions in fractions are looked for
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_POWER = re.compile(r"(?<=[\d)])[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")

_DIGITS = rf"(?:\d+(?:[.,'_{_THIN}]\d+)*|\.\d+)"  # whether the marks make sense is seen by ``_decimal``
_GAP = f"[{_SPACES}]"
_UNITS = rf"(?:[百千万億亿兆京]|{_GAP}?(?i:hundred|thousand|million|billion|trillion)s?\b)"
_NUMBER = re.compile(
    rf"""
    (?P<unclear>
        {_UNCLEAR} [\s({{\[]* {_DIGITS}?                     # √2, ±3, \log 100
      | \)\s?\^\s?\(?[-−]?\d*                                # (1+2)^2
      | (?<![A-Za-z\d.,]) (?:
            \d+(?::\d+)+                                     # 12:30, 3:4
          | \d+(?:/\d+){{2,}}                                # 1/2/2024
          | \d{{1,3}}(?:[ ]\d{{3}})+(?![\d/])(?:[.,'_]\d+)*  # 1 234, 1 234,5: one number or two
        )
    )
  | (?P<unit> (?<=[A-Za-z])\^\(?[-−]?\d+ )                   # x^2, s^-1
  | (?<![A-Za-z\d.^]) (?<![A-Za-z]_)                         # cm2, x2, x_2 hold no number
    (?:
        (?:(?P<whole_of>\d+)と)? (?P<under>{_DIGITS})分の(?P<over>{_DIGITS})      # 4分の3
      | (?:(?P<whole>{_DIGITS})(?:[ ]?{_JOIN}|[ ](?:and[ ])?))?                   # 1 1/2
        {_JOIN}? (?P<above>{_DIGITS}) [ ]?/[ ]? (?P<below>{_DIGITS})
      | (?P<number>{_DIGITS})
        (?:[eE](?P<e>[-+−]?\d+)(?![A-Za-z]))?
        (?:(?:\s?\^\s?\(?|\*\*(?=\d))(?P<power>[-+−]?\d*)\)?)?
        (?:\s*[×xX*·⋅]\s*10\s?(?:\^|\*\*)\s?\(?(?P<ten>[-+−]?\d+)\)?)?
    )
    (?P<more> {_UNITS}+ (?:{_GAP}?{_DIGITS}{_UNITS}+)* (?:{_DIGITS})? )?
    (?P<short>                                           # 5k, 5 bn, but not 5 T-shirts
        (?:{_GAP}(?![A-Z]-[A-Za-z]))? (?:[bB][nN]|[tT][nN]|[kKmMbBT]) (?![A-Za-z\d^²³])
    )?
    (?P<again> (?:\s?\^[\s({{]*[-−]?\d* | \.\d+)+ )?            # 10^10^9, 2^0.5
    """,
    re.VERBOSE,
)
_PART = re.compile(rf"({_DIGITS})|([百千万億亿兆京]|[a-z]+?(?=s?(?:[^a-z]|$)))")
_GROUPED = re.compile(rf"[1-9]\d{{0,2}}([,'_{_THIN}])\d{{3}}(?:\1\d{{3}})*(?:\.\d+)?")
_EUROPEAN = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+")  # 1.234,5 can be read in one way alone
_PLAIN = re.compile(r"\d*\.?\d+")
_COUNTED = re.compile(r"\d[^\W\d_A-Za-z\u3040-\u309f]{1,3}$")  # 5個: a dash after it subtracts


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text; None when it has none, or one that may mean two things.

    A sign belongs to the number unless something stands before it to subtract from: the last number of
    "12-3" is 3, of "= -3" it is −3.
    """
    boxed = _boxed(text)
    if boxed is None:
        return None
    plain, last = _plain(boxed), None
    for match in _NUMBER.finditer(plain):
        last = match if match["unit"] is None else last
    return None if last is None else _signed(last)


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
                remedy="Write it in plain digits, such as 1234.5, or choose another grader.",
            )


def _boxed(text: str) -> str | None:
    """What the last box holds, or the text if there is no box; None when it is not closed."""
    start = max((match.end() for match in _BOX.finditer(text)), default=None)
    if start is None:
        return text
    depth = 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return text[start : start + brace.start()]
    return None


def _plain(text: str) -> str:
    """The text with one way to write each thing."""
    text = text.translate(_CHARACTERS)
    text = _POWER.sub(lambda power: "^" + power[0].translate(_POWERS), text)
    text = _replaced(text, _WRITTEN)
    if "\\" not in text and "{" not in text:
        return text
    text = _replaced(text, _LATEX)
    for _ in range(_NESTED):
        text = _LATEX_FRACTION.sub(_fraction, text)
    return _replaced(text, _LATEX_REST)


def _replaced(text: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        text = re.sub(pattern, replacement, text)
    return text


def _fraction(match: re.Match[str]) -> str:
    r"""``\frac{3}{4}`` as ``3/4``; unclear when a part of it is more than a number."""
    parts = [part.strip() for part in match.groups() if part is not None]
    numbers = [_NUMBER.fullmatch(part.lstrip("-−")) for part in parts]
    values = [None if found is None else _value(found) for found in numbers]
    above, below = values
    if above is None or not below:
        return _UNCLEAR
    is_negative = sum(part.startswith(("-", "−")) for part in parts) == 1
    value = above / below
    return f"{'−' if is_negative else ''}{_JOIN}{value.numerator}/{value.denominator}"


def _signed(match: re.Match[str]) -> Fraction | None:
    value, sign = _value(match), _sign(match.string, match.start())
    return None if value is None or sign is None else sign * value


def _value(match: re.Match[str]) -> Fraction | None:
    """The value of a match without its sign; None when it is unclear, or far too long."""
    if match["unclear"] is not None or match["unit"] is not None or match["again"] is not None:
        return None
    try:
        value = _first(match)
        value = _multiplied(value, match["more"]) if match["more"] else value
        return value * _short(match)
    except (ValueError, ZeroDivisionError):
        return None


def _first(match: re.Match[str]) -> Fraction:
    """The number before words and letters that multiply it."""
    if match["number"] is None:
        whole = match["whole"] or match["whole_of"]
        part = _decimal(match["above"] or match["over"]) / _decimal(match["below"] or match["under"])
        if whole is not None and (part >= 1 or not whole.isdecimal()):
            raise ValueError("3 5/2 is no mixed number")
        return part + (_decimal(whole) if whole else 0)
    value = _decimal(match["number"])
    if match["power"] is not None:
        value = _power(value, match["power"])
    for exponent in (match["e"], match["ten"]):
        value *= 1 if exponent is None else _power(Fraction(10), exponent)
    return value


def _decimal(text: str) -> Fraction:
    """Read digits with the marks that group them.

    Raises:
        ValueError: the marks may mean two things, such as 1,5, or there are too many digits.
    """
    if len(text) > _MOST_DIGITS:
        raise ValueError("too many digits")
    if _PLAIN.fullmatch(text):
        return Fraction(text)
    if _GROUPED.fullmatch(text):
        return Fraction(re.sub(r"[^\d.]", "", text))
    if _EUROPEAN.fullmatch(text):
        return Fraction(text.replace(".", "").replace(",", "."))
    raise ValueError("unclear marks")


def _power(base: Fraction, exponent: str) -> Fraction:
    power = int(exponent.replace("−", "-")[:_MOST_DIGITS])
    digits = max(len(str(base.numerator)), len(str(base.denominator)))
    if abs(power) * digits > _MOST_DIGITS:
        raise ValueError("too many digits")
    return base**power


def _multiplied(first: Fraction, more: str) -> Fraction:
    """1万2千 is 12,000, 3千万 is 30,000,000: 万 and the like multiply all that stands since the last of them.

    Raises:
        ValueError: they are in no order, such as 5万3億, or too many.
    """
    if len(more) > _MOST_DIGITS:
        raise ValueError("too many multipliers")
    total = section = Fraction(0)
    current: Fraction | None = first
    last = 0
    for digits, unit in _PART.findall(more.lower()):
        if digits:
            current = _decimal(digits)
        elif unit in _SMALL:
            section += (1 if current is None else current) * _SMALL[unit]
            current = None
        elif current is None and not section:  # 万亿, thousand million
            total *= _LARGE[unit]
        elif last and _LARGE[unit] >= last:
            raise ValueError("no order")
        else:
            last = _LARGE[unit]
            total += (section + (current or 0)) * last
            section, current = Fraction(0), None
    return total + section + (current or 0)


def _short(match: re.Match[str]) -> int:
    """What 5k is multiplied by, or $5M.

    Raises:
        ValueError: 5M, which may be 5 million or 5 metres of something.
    """
    written = match["short"]
    if written is None:
        return 1
    letter, is_apart = written.strip(), written != written.strip()
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    is_formula = before == "$" and is_apart and letter in ("k", "m", "b")  # $5 m + x$
    is_before = before in tuple(_MONEY) and after != "$" and not is_formula
    if is_before or after in tuple(_MONEY.replace("$", "")):
        return _OF_MONEY[letter.lower()]
    is_closed = before == after == "$"  # $5 m$ is a formula: 5 metres
    if letter in ("K", "M", "b", "B", "T") or (letter == "k" and is_apart) or (is_formula and not is_closed):
        raise ValueError("a unit or a multiplier")
    return _SHORT.get(letter.lower(), 1)


def _sign(text: str, start: int) -> int | None:
    """1 or −1; None when a dash before the number may be a sign or not."""
    before = text[max(0, start - _NEAR) : start].rstrip("*([{" + _MONEY + _JOIN)
    near = before.rstrip(_SPACES)
    if not near.endswith(("-", "−", "ー")):
        return 1
    dash, rest, is_apart = near[-1], near[:-1], near != before
    left = rest.rstrip(_SPACES)
    if not left or left.endswith("\n"):  # a minus, or an item of a list
        return None if is_apart and dash != "−" else -1
    if left.endswith(("-", "−")):
        return None
    if left[-1].isdecimal() or left.endswith((")", "%", "]", "}", "°")) or _COUNTED.search(left):
        return 1
    return _sign_after_letter(left[-1], dash, is_apart, left == rest) if left[-1].isalpha() else -1


def _sign_after_letter(letter: str, dash: str, is_apart: bool, is_touched: bool) -> int | None:
    """``is_apart``: a space stands after the dash; ``is_touched``: none stands before it."""
    if dash == "ー" and is_touched:  # コーヒー3杯
        return None if "\u3040" <= letter <= "\u309f" else 1
    if is_touched and letter.isascii():  # x-3; in Japanese, signs follow letters: 答えは-3
        return 1
    return None if is_apart else -1
