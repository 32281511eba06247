"""Sentences of the report of a scout."""

from __future__ import annotations

from kingyo.io.units import counted, joined, time_text
from kingyo.report import scout_wording as wording
from kingyo.report.scout_findings import ScoutFindings
from kingyo.report.scout_map import map_places
from kingyo.scout.suggestion import ENDS, doubts_text, next_text, predictions_text, trimmed_text
from kingyo.stats import Interval

CAUTION = (
    "Scores and gains are measured on fit items only, and the sources were chosen by them, so expect less on "
    "other items: the search and the test come later, with kingyo evolve."
)

MOST = 0.95
"""Share of the differences that a plane shows without a warning."""


def headline(findings: ScoutFindings) -> str:
    """Return the result in one sentence."""
    choice = findings.choice
    chosen, all_of_them = len(choice.chosen), counted(len(choice.sources), "candidate")
    if choice.verdict == "open":
        return f"The budget ended before the choice did: {chosen} of {all_of_them} so far."
    if not chosen:
        return f"None of {all_of_them} was chosen for this task."
    return f"{chosen} of {all_of_them} {_were(chosen)} chosen for this task."


def summary(findings: ScoutFindings) -> str:
    """Return the choice in a paragraph."""
    sentences = [
        _candidates(findings),
        _score(findings),
        trimmed_text(findings.choice) or "",
        doubts_text(findings.choice) or "",
        _next(findings),
        ENDS[findings.choice.verdict].replace("`", ""),
        _cost(findings),
        predictions_text(findings.choice.correlation).replace("-", wording.MINUS),
    ]
    return " ".join(each for each in sentences if each)


def _candidates(findings: ScoutFindings) -> str:
    choice = findings.choice
    base = f"the base {findings.group.base}"
    fit = f"{counted(len(choice.sources), 'candidate')} for {base} {_were(len(choice.sources))} tried"
    if n := len(findings.left_out):
        fit += f" ({counted(n, 'near-duplicate or copy', 'near-duplicates or copies')} {_were(n)} left out)"
    if not choice.chosen:
        return f"{fit}; none was chosen."
    chosen = f"{joined(choice.chosen)} {_were(len(choice.chosen))} chosen"
    dropped = findings.dropped
    again = f", {joined(dropped)} {_were(len(dropped))} added and dropped again" if dropped else ""
    return f"{fit}; {chosen}{again}."


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _score(findings: ScoutFindings) -> str:
    score = findings.choice.score
    base = findings.stages[0].score if findings.stages else None
    of_base = f"the base alone scores {_with_n(base)}" if base is not None else ""
    if not findings.choice.chosen or score is None:
        return f"On fit items {of_base}." if of_base else ""
    plain = "Alone it scores" if len(findings.choice.chosen) == 1 else "Their plain merge scores"
    return f"{plain} {_with_n(score)} on fit items{f'; {of_base}' if of_base else ''}."


def _with_n(value: Interval) -> str:
    return f"{wording.score(value)} ({wording.sample(value)})"


def _next(findings: ScoutFindings) -> str:
    best = findings.next
    if best is None:
        return ""
    name, gain = best
    return next_text(findings.choice, name, f"{wording.points(gain)} ({wording.sample(gain)})")


def _cost(findings: ScoutFindings) -> str:
    choice = findings.choice
    time = time_text(60 * choice.minutes).replace(" ", wording.NO_BREAK)
    return f"This took {counted(choice.item_evaluations, 'answer')} in {time}."


def map_note(findings: ScoutFindings) -> str:
    """Say what near means on the map, how much of it the map shows, and what is not on it."""
    shown, places = map_places(findings)
    if findings.group.structure is not None:
        near = "Near: the task vectors (model minus base) point in similar directions, by their cosine"
    else:
        near = (
            "Near: the models alone solve the same items, by the mean squared difference of their item "
            "scores; weights were not measured"
        )
    share = f"The plane shows {wording.percent(places.share)} of these differences"
    if places.share < MOST:
        share += ", so models that look near may differ"
    missing = len(findings.candidates) - len(shown)
    absent = f" {counted(missing, 'candidate')} could not be scored and is not here." if missing else ""
    return (
        f"{near}. {share}. Models at the same place are drawn side by side. The larger a point, the larger "
        f"its last measured gain; names without room are in the tables.{absent}"
    )
