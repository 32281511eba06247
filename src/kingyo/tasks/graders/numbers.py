r"""Parse the last number of a text in its many notations, and grade answers by it.

The table in ``docs/graders.md``, which is also a test, lists the notations. The last number counts, or the
last one in the last ``\boxed{}`` if there is one. Ambiguous numbers are not guessed: if the last match is
unclear (``1,5``, ``12:30``, ``\sqrt{2}``), the text has no number.

``_plain`` first normalises the text: LaTeX fractions, ``½``, ``³`` and full-width characters become ASCII,
and what is not a plain number becomes ``_UNCLEAR``. Then the last match of ``_NUMBER`` is evaluated. Both
take time proportional to the length of the text; numbers that are too large are unclear.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from kingyo.core.types import Item
from kingyo.errors import KingyoError
from kingyo.tasks.graders.grader import register_grader

_MAX_DIGITS = 1000
_UNCLEAR = "\ue000"  # replaces what is not a plain number, so that its parts are not read as one
_JOIN = "\u2064"  # precedes a fraction that was one character, and joins it to a preceding integer
_THIN = "\u2009"  # a space that groups digits
_SPACES = " \t\u3000" + _THIN
_NEAR = 40  # characters before a number that decide its sign

_SMALL = {"百": 10**2, "千": 10**3, "hundred": 10**2}
_LARGE = {
    **{"万": 10**4, "億": 10**8, "亿": 10**8, "兆": 10**12, "京": 10**16},
    **{"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    **{"k": 10**3, "bn": 10**9, "tn": 10**12},
}
_MONEY = "$¥€£₩₹"

# NFKC would do this too, but it also turns cm² into cm2, whose 2 is not a number.
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
_NESTED = 4  # maximum depth of nested fractions
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_POWER = re.compile(r"(?<=[\d)])[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")

_DIGITS = rf"(?:\d+(?:[.,'_{_THIN}]\d+)*|\.\d+)"  # ``_decimal`` checks the separators
_GAP = f"[{_SPACES}]"
_WORDS = r"(?i:hundred|thousand|million|billion|trillion)s?(?![A-Za-z\d_])|(?i:[bt]n)(?![A-Za-z\d^²³])"
_UNITS = rf"(?:[百千万億亿兆京]|{_GAP}?(?:{_WORDS}))"
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
    (?P<more> (?:k(?![A-Za-z\d^²³]) | {_UNITS})+ (?:{_GAP}?{_DIGITS}{_UNITS}+)* (?:{_DIGITS})? )?
    (?P<vague>                                           # 5M, 300 K, but not 5 T-shirts
        ({_GAP}(?![A-Z]-[A-Za-z]))? (?P<letter>[KMBTbkm]) (?![A-Za-z\d^²³])
    )?
    (?P<again> (?:\s?\^[\s({{]*[-−]?\d* | \.\d+)+ )?            # 10^10^9, 2^0.5
    """,
    re.VERBOSE,
)
_PART = re.compile(rf"({_DIGITS})|([百千万億亿兆京]|[a-z]+?(?=s?(?:[^a-z]|$)))")
_GROUPED = re.compile(rf"[1-9]\d{{0,2}}([,'_{_THIN}])\d{{3}}(?:\1\d{{3}})*(?:\.\d+)?")
_EUROPEAN = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+")  # 1.234,5 is unambiguous
_PLAIN = re.compile(r"\d*\.?\d+")
_COUNTED = re.compile(r"\d[^\W\d_A-Za-z\u3040-\u309f]{1,3}$")  # 5個: a dash after it subtracts


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text, or None if there is none or the last one is ambiguous.

    A minus belongs to the number unless it follows something to subtract from: "= -3" is −3, "12-3" is 3.
    """
    boxed = _boxed(text)
    if boxed is None:
        return None
    plain, last = _plain(boxed), None
    for match in _NUMBER.finditer(plain):
        last = match if match["unit"] is None else last
    if last is None:
        return None
    value, sign = _value(last), _sign(plain, last.start())
    return None if value is None or sign is None else sign * value


@register_grader("number")
@dataclass(frozen=True, kw_only=True)
class Number:
    """Right if the last number of the text equals the last number of the answer.

    Attributes:
        tolerance: largest difference that counts as equal.
    """

    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __call__(self, answer: str, item: Item) -> float:
        given, right = last_number(answer), last_number(item.answer)
        if given is None or right is None:
            return 0.0
        return float(abs(given - right) <= Fraction(repr(float(self.tolerance))))

    def check(self, item: Item) -> None:
        if last_number(item.answer) is None:
            expected = "a number, for the grader `number`"
            remedy = "Write the answer in plain digits, such as 1234.5, or use another grader."
            raise KingyoError(f"answer of item {item.id}", expected, repr(item.answer), remedy)


def _boxed(text: str) -> str | None:
    """Return the content of the last box, None if that is not closed, or the text if there is no box."""
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
    parts = [part.strip() for part in match.groups() if part is not None]
    numbers = [_NUMBER.fullmatch(part.lstrip("-−")) for part in parts]
    values = [None if number is None else _value(number) for number in numbers]
    above, below = values
    if above is None or not below:
        return _UNCLEAR
    is_negative = sum(part.startswith(("-", "−")) for part in parts) == 1
    value = above / below
    return f"{'−' if is_negative else ''}{_JOIN}{value.numerator}/{value.denominator}"


def _value(match: re.Match[str]) -> Fraction | None:
    if any(match[group] is not None for group in ("unclear", "unit", "again")) or _is_vague(match):
        return None
    try:
        value = _first(match)
        return _multiplied(value, match["more"]) if match["more"] else value
    except (ValueError, ZeroDivisionError):
        return None


def _is_vague(match: re.Match[str]) -> bool:
    """Return whether a letter follows that may be a multiplier; `m` without a currency is metres."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    is_money = (before in tuple(_MONEY) and after != "$") or after in tuple(_MONEY.replace("$", ""))
    return match["letter"] is not None and (match["letter"] != "m" or is_money)


def _first(match: re.Match[str]) -> Fraction:
    if match["number"] is None:
        whole = match["whole"] or match["whole_of"]
        part = _decimal(match["above"] or match["over"]) / _decimal(match["below"] or match["under"])
        if whole is not None and (part >= 1 or not whole.isdecimal()):
            raise ValueError("an improper mixed number, such as 3 5/2")
        return part + (_decimal(whole) if whole else 0)
    value = _decimal(match["number"])
    if match["power"] is not None:
        value = _power(value, match["power"])
    for exponent in (match["e"], match["ten"]):
        value *= 1 if exponent is None else _power(Fraction(10), exponent)
    return value


def _decimal(text: str) -> Fraction:
    """Parse digits with separators.

    Raises:
        ValueError: the separators are ambiguous, such as in 1,5, or there are too many digits.
    """
    if len(text) > _MAX_DIGITS:
        raise ValueError("too many digits")
    if _PLAIN.fullmatch(text):
        return Fraction(text)
    if _GROUPED.fullmatch(text):
        return Fraction(re.sub(r"[^\d.]", "", text))
    if _EUROPEAN.fullmatch(text):
        return Fraction(text.replace(".", "").replace(",", "."))
    raise ValueError("ambiguous separators")


def _power(base: Fraction, exponent: str) -> Fraction:
    power = int(exponent.replace("−", "-")[:_MAX_DIGITS])
    digits = max(len(str(base.numerator)), len(str(base.denominator)))
    if abs(power) * digits > _MAX_DIGITS:
        raise ValueError("too many digits")
    return base**power


def _multiplied(first: Fraction, more: str) -> Fraction:
    """Apply multipliers: 1万2千 is 12,000. Large ones, such as 万, multiply all since the last of them.

    Raises:
        ValueError: large multipliers increase, as in 5万3億, or the text is too long.
    """
    if len(more) > _MAX_DIGITS:
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
            raise ValueError("multipliers in the wrong order")
        else:
            last = _LARGE[unit]
            total += (section + (current or 0)) * last
            section, current = Fraction(0), None
    return total + section + (current or 0)


def _sign(text: str, start: int) -> int | None:
    before = text[max(0, start - _NEAR) : start].rstrip("*([{" + _MONEY + _JOIN)
    near = before.rstrip(_SPACES)
    if not near.endswith(("-", "−", "ー")):
        return 1
    dash, rest, is_apart = near[-1], near[:-1], near != before
    left = rest.rstrip(_SPACES)
    last = left[-1:]
    is_letter = last.isascii() and last.isalpha() and left == rest
    if last.isdecimal() or last in tuple(")%]}°") or is_letter or _COUNTED.search(left):
        return 1  # 12 - 3, x-3 and 5個-3個; in Japanese, signs follow letters: 答えは-3
    if last in ("-", "−"):
        return None
    if dash == "ー" and left == rest and last.isalpha():  # コーヒー3杯
        return None if "\u3040" <= last <= "\u309f" else 1
    is_at_start = last in ("", "\n")  # of a line: a minus, or a list's bullet
    is_unclear = is_apart and (last.isalpha() or (is_at_start and dash != "−"))
    return None if is_unclear else -1
