"""What measures of sets of answers say of models, and how the numbers that a run chooses by are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kingyo.evolution import Objectives
from kingyo.evolution.set_measures import SetValue
from kingyo.stats import Interval, percent
from kingyo.types import Split


@dataclass(frozen=True, kw_only=True)
class SetRow:
    """One measure of sets of answers of one model, by split."""

    measure: str
    model: str
    values: Mapping[Split, SetValue]


def score_formatter(objectives: Objectives) -> Callable[[float], str]:
    """Return what writes the numbers that count in a run: scores in percent, measures as they are."""
    return measure_text if objectives.by_set else percent


def interval_in_words(found: Interval | None, decided_by: str | None) -> str:
    """Return what counts of a model with its interval; a dash where it is not known."""
    if found is None:
        return "–"
    return found.in_percent(" %") if decided_by is None else found.plain()


def measure_text(value: float) -> str:
    """Return a measure as "0.8124"."""
    return f"{value:.4g}"


def set_value_text(value: SetValue | None) -> str:
    """Return "0.8124 [0.771, 0.8493]", why there is no value, or nothing where none was measured."""
    if value is None:
        return ""
    if value.value is None:
        return f"none: {value.failure}"
    return f"{value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"


def deciding_intervals(sets: Sequence[SetValue], title: str) -> dict[Split, Interval]:
    """What counts in place of the scores, by split, as far as it is known."""
    found: dict[Split, Interval] = {}
    for each in sets:
        if (each.task, each.measure) == ("", title) and each.value is not None:
            assert each.low is not None and each.high is not None, "a value has bounds"
            bounds = {"low": each.low, "high": each.high}
            found[each.split] = Interval(score=each.value, n=each.n, **bounds, method="bootstrap")
    return found
