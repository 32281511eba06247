"""How numbers of a run are written: everywhere the same, and the words follow the intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kingyo.evolution import Objectives
from kingyo.io import units
from kingyo.stats import Interval

NONE = "–"
MINUS = "−"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The unit of the numbers that decide a run: scores in percent, or a set measure as it is.

    Attributes:
        measure: name of the set measure that decides instead of mean item scores; None if scores decide.
    """

    measure: str | None = None

    @property
    def title(self) -> str:
        return self.measure or "score"

    @property
    def axis(self) -> str:
        return f"{self.measure} on fit" if self.measure else "score on fit in %"

    @property
    def by(self) -> str:
        """Return "by NAME, " if a set measure decides."""
        return f"by {self.measure}, " if self.measure else ""

    @property
    def factor(self) -> float:
        return 1.0 if self.measure else 100.0

    @property
    def verb(self) -> str:
        return "has" if self.measure else "scores"

    def text(self, value: float) -> str:
        """Write a number: ``73.5%``, or ``0.8124``."""
        return f"{value:.4g}".replace("-", MINUS) if self.measure else percent(value)

    def bounds(self, value: Interval) -> str:
        """Write an interval: ``[67.0, 79.2]``."""
        return f"[{self._bare(value.low)}, {self._bare(value.high)}]"

    def bounded(self, value: Interval | None) -> str:
        """Write a number with its interval; a dash if there is none."""
        return NONE if value is None else f"{self.text(value.score)} {self.bounds(value)}"

    def difference(self, value: float) -> str:
        """Write a difference: ``+48.0 points``."""
        return f"{self._signed(value)}{'' if self.measure else ' points'}"

    def bounded_difference(self, value: Interval) -> str:
        """Write a difference with its interval: ``+48.0 points [+41.2, +54.9]``."""
        return f"{self.difference(value.score)} [{self._signed(value.low)}, {self._signed(value.high)}]"

    def _bare(self, value: float) -> str:
        return self.text(value).removesuffix("%")

    def _signed(self, value: float) -> str:
        text = f"{value:+.4g}" if self.measure else f"{100 * value:+.1f}"
        return text.replace("-", MINUS) if float(text) else text.replace("-", "+")


SHARES = Unit()


def unit_of(objectives: Objectives) -> Unit:
    """Return the unit of a run with these objectives."""
    return Unit(measure=objectives.title if objectives.by_set else None)


def percent(value: float) -> str:
    """Write a score: ``73.5%``."""
    return units.percent(value).replace("-", MINUS)


def p_text(p: float) -> str:
    """Write a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def sizes(ns: Iterable[int], total: int, of_groups: str = "") -> str:
    """Write how many of all items scores rest on: ``n = 120``, ``n = 16 of 120``, ``n = 4 to 16 of 120``."""
    numbers = [*ns] or [total]
    low, high = min(numbers), max(numbers)
    if low == total:
        return f"n = {total:,}{of_groups}"
    few = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    if of_groups and high < total:
        return f"n = {few}{of_groups} (of {total:,} items)"
    return f"n = {few} of {total:,}{of_groups}"


def sizes_of(scores: Iterable[Interval | None], total: int) -> str:
    """Write how many items scores rest on, and of how many groups if items belong together."""
    known = [each for each in scores if each is not None]
    of_groups = max(known, key=lambda each: each.n).of_groups if known else ""
    return sizes((each.n for each in known), total, of_groups)
