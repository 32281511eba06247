"""How the page of the scout writes numbers; lines do not break within them."""

from kingyo.results.unit import MINUS, SHARES, percent
from kingyo.stats import Interval

__all__ = ["MINUS", "NO_BREAK", "bounds", "percent", "points", "sample", "score"]
NO_BREAK = "\N{NO-BREAK SPACE}"


def bounds(value: Interval) -> str:
    """Write an interval in percent."""
    return SHARES.bounds(value).replace(" ", NO_BREAK)


def score(value: Interval | None) -> str:
    """Write a score with its interval; a dash where there is none yet."""
    return "–" if value is None else f"{percent(value.score)} {bounds(value)}"


def sample(value: Interval) -> str:
    """Write a number of items."""
    return f"n = {value.size}".replace(" ", NO_BREAK)


def points(value: Interval) -> str:
    """Write a difference of two scores."""
    return SHARES.bounded_difference(value).replace(", ", f",{NO_BREAK}")
