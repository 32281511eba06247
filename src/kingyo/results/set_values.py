"""Set measures of models, and the text of the values that a run decides by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kingyo.evolution import Objectives
from kingyo.evolution.set_measures import SetValue
from kingyo.stats import Interval, percent
from kingyo.types import Split


@dataclass(frozen=True, kw_only=True)
class SetRow:
    """One set measure of one model, by split."""

    measure: str
    model: str
    values: Mapping[Split, SetValue]


def score_formatter(objectives: Objectives) -> Callable[[float], str]:
    """Return the formatter of the values that a run decides by: percent for scores, numbers for measures."""
    return measure_text if objectives.by_set else percent


def interval_in_words(value: Interval | None, decided_by: str | None) -> str:
    """Return a value that the run decides by, with its interval; a dash if it is unknown."""
    if value is None:
        return "–"
    return value.in_percent(" %") if decided_by is None else value.plain()


def measure_text(value: float) -> str:
    """Return a set measure as "0.8124"."""
    return f"{value:.4g}"


def set_value_text(value: SetValue | None) -> str:
    """Return "0.8124 [0.771, 0.8493]", or why there is no value; empty if it was not computed."""
    if value is None:
        return ""
    if value.value is None:
        return f"none: {value.failure}"
    return f"{value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"


def deciding_intervals(sets: Sequence[SetValue], title: str) -> dict[Split, Interval]:
    """Return split -> the set measure that decides the run, if it is known; ``title`` is its name."""
    intervals: dict[Split, Interval] = {}
    for each in sets:
        if (each.task, each.measure) == ("", title) and each.value is not None:
            assert each.low is not None and each.high is not None, "a value has bounds"
            bounds = {"low": each.low, "high": each.high}
            intervals[each.split] = Interval(score=each.value, n=each.n, **bounds, method="bootstrap")
    return intervals
