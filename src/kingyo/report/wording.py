"""How the report writes numbers and comparisons: the words follow the intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kingyo.io import units
from kingyo.io.units import counted, joined
from kingyo.results.comparisons import PairedComparison
from kingyo.results.model_result import measure_text
from kingyo.results.trials import describe_search
from kingyo.stats import Interval

search = describe_search
Verdict = Literal["better", "worse", "open"]
MINUS = "−"
NO_BREAK = "\N{NO-BREAK SPACE}"


def percent(value: float) -> str:
    """Write a score of 0..1, such as ``73.5%``."""
    return units.percent(value).replace("-", MINUS)


def bounds(value: Interval) -> str:
    """Write an interval in percent, such as ``[67.0, 79.2]``; lines do not break within it."""
    return f"[{_signless(100 * value.low)},{NO_BREAK}{_signless(100 * value.high)}]"


def score(value: Interval | None) -> str:
    """Write a score with its interval; a dash where there is none yet."""
    return "–" if value is None else f"{percent(value.score)} {bounds(value)}"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How to write and draw the numbers that a run chooses by: scores in percent, a measure unchanged.

    Attributes:
        measure: what to call it; None for scores.
    """

    measure: str | None = None

    @property
    def title(self) -> str:
        """The name of the number."""
        return "score" if self.measure is None else self.measure

    @property
    def factor(self) -> float:
        """The factor of numbers in charts."""
        return 100.0 if self.measure is None else 1.0

    def text(self, value: float) -> str:
        """Write a number."""
        return percent(value) if self.measure is None else measure_text(value).replace("-", MINUS)

    def bounded(self, value: Interval | None) -> str:
        """Write a number with its interval; a dash where there is none yet."""
        if value is None or self.measure is None:
            return score(value)
        return f"{self.text(value.score)} [{self.text(value.low)},{NO_BREAK}{self.text(value.high)}]"

    def difference(self, value: Interval) -> str:
        """Write a difference of two numbers."""
        return points(value) if self.measure is None else value.plain("+").replace("-", MINUS)


PERCENT = Unit()


def estimated(value: float, raw: float, n: int) -> str:
    """Write an estimate, and what was measured: ``≈ 73.5% (75.0% on 16 items)``."""
    return f"≈{NO_BREAK}{percent(value)} ({percent(raw)} on {counted(n, 'item')})"


def sizes(ns: Iterable[int], total: int, of_groups: str = "") -> str:
    """Write how many of all items scores rest on: ``n = 120``, ``n = 16 of 120``, ``n = 4 to 16 of 120``."""
    numbers = [*ns] or [total]
    low, high = min(numbers), max(numbers)
    if low == total:
        return f"n = {total:,}{of_groups}"
    few = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    if of_groups and high < total:
        return f"n = {few}{of_groups}, of {total:,}"
    return f"n = {few} of {total:,}{of_groups}"


def sizes_of(scores: Iterable[Interval], total: int) -> str:
    """Write how many items scores rest on, and of how many groups if items belong together."""
    known = [*scores]
    of_groups = max(known, key=lambda each: each.n).of_groups if known else ""
    return sizes((each.n for each in known), total, of_groups)


def sample(value: Interval) -> str:
    """Write a number of items, such as ``n = 120``; lines do not break within it."""
    return f"n = {value.size}".replace(" ", NO_BREAK)


def points(value: Interval) -> str:
    """Write a difference of two scores, such as ``+48.0 points [41.2, 54.9]``."""
    low, high = (_signed(100 * bound) for bound in (value.low, value.high))
    return f"{_signed(100 * value.score)} points [{low},{NO_BREAK}{high}]"


def p_value(p: float) -> str:
    """Write a p-value."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return text.replace(" ", NO_BREAK)


def verdict(comparison: PairedComparison) -> Verdict:
    """Say what a comparison shows: nothing unless its interval leaves out 0, as it does where p <= 0.05."""
    if comparison.difference.low > 0:
        return "better"
    return "worse" if comparison.difference.high < 0 else "open"


def compared(bred: str, others: Sequence[tuple[str, Verdict]]) -> str:
    """Say in one sentence what is known of the bred model against others.

    Args:
        bred: its name in the sentence.
        others: name in the sentence, and the verdict.
    """
    beaten, unclear, ahead = (
        [name for name, verdict in others if verdict == wanted] for wanted in ("better", "open", "worse")
    )
    verbs: list[str] = []
    if beaten:
        verbs.append(f"beats {joined(beaten)}")
    if ahead:
        verbs.append(f"is worse than {joined(ahead)}")
    if unclear:
        verbs.append(f"is not shown to beat {joined(unclear, last='or')}")
    return f"{bred} {joined(verbs, last='but' if len(verbs) == 2 else 'and')}."


def _signless(value: float) -> str:
    return f"{value:.1f}".replace("-", MINUS)


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)
