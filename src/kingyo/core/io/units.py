"""Parse and format sizes, counts, lists, shares and times."""

import math
import re
from collections.abc import Sequence

from kingyo.errors import KingyoError

_UNITS = ("", "k", "m", "g", "t")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def parse_size(text: str, argument: str) -> int:
    """Parse a size such as ``5GB`` or ``512MiB`` into bytes."""
    match = _SIZE.fullmatch(text)
    if match is not None:
        number, unit, is_binary = match.groups()
        if text.strip()[-1] in "bB" and not unit and not is_binary:
            received = f"'{text}', which would be {number} bytes here but billions in mergekit"
            raise KingyoError(argument, "a unit of two letters, such as GB", received, f"Write {number}GB.")
        amount = float(number) * (1024 if is_binary else 1000) ** _UNITS.index(unit.lower())
        size = int(amount) if math.isfinite(amount) else 0
        if size > 0 and (unit or not is_binary):
            return size
    remedy = "Write a number and a unit: kB, MB, GB (or KiB, MiB, GiB)."
    raise KingyoError(argument, "a size in bytes, such as 5GB or 512MiB", f"'{text}'", remedy)


def size_text(n_bytes: float) -> str:
    return _scaled(n_bytes, ("TB", "GB", "MB", "kB")) or f"{n_bytes:.0f} bytes"


def count_text(number: float) -> str:
    return _scaled(number, ("T", "B", "M", "k")) or f"{number:.0f}"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    """Format a number in the largest unit that fits; the units stand for 1e12, 1e9, 1e6 and 1e3."""
    for unit, size in zip(units, (1e12, 1e9, 1e6, 1e3), strict=True):
        if number >= size * 0.9995:
            return f"{_digits(number / size)} {unit}"
    return ""


def amount_text(key: str, value: float) -> str:
    """Format one limit of a budget, such as ``60 candidates`` or ``1 item evaluation``."""
    noun = key.replace("_", " ")
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
    return f"{number} {noun.removesuffix('s') if value == 1 else noun}"


def counted(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def joined(names: Sequence[str], last: str = "and") -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def percent(value: float, number: str = ".1f") -> str:
    return f"{100 * value:{number}}%"


def time_text(seconds: float) -> str:
    """Format a time in its largest unit, such as ``5 min``."""
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _digits(number: float) -> str:
    return f"{number:.0f}" if number >= 99.95 else f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
