"""The tables of a scout's report."""

from __future__ import annotations

from kingyo.io.units import count_text, joined, size_text
from kingyo.report import scout_wording as wording
from kingyo.report.scout_findings import ScoutFindings
from kingyo.scout.candidate import Candidate
from kingyo.stats import Interval

NONE = "–"
Cell = str | tuple[str, str]
Row = tuple[Cell, ...]


def stages_table(findings: ScoutFindings) -> tuple[Row, list[Row]]:
    """Return the merges along the way: what was added, the score, and the measured and predicted gain."""
    stages = [*findings.stages, *([findings.final] if findings.final else [])]
    rows: list[Row] = []
    for stage in stages:
        last = stage.sources[-1] if stage.sources else "the base"
        added = f"+ {last}" if stage.gain is not None else last
        if stage is findings.final:
            added = f"− {joined(findings.dropped)}"
        cells = (_score(stage.score), _points(stage.gain), _points(stage.predicted))
        rows.append((f"{len(stage.sources)}", added, *cells))
    return ("sources", "change", "score on fit", "gain", "predicted gain"), rows


def chosen_table(findings: ScoutFindings) -> tuple[Row, list[Row]]:
    """Return the chosen sources with reasons."""
    choice = findings.choice
    rows: list[Row] = []
    for name in choice.chosen:
        last = choice.contributions.get(name)
        rows.append(
            (
                (name, "; ".join([findings.candidates[name].reference, *findings.remarks.get(name, ())])),
                _score(choice.alone.get(name)),
                _points(findings.gains.get(name)),
                _points(None if last is None else last.interval),
                *_facts(findings.candidates[name]),
            )
        )
    return ("source", "alone", "gain when added", "in the final set", "licence", ("parameters", "size")), rows


def others_table(findings: ScoutFindings) -> tuple[Row, list[Row]]:
    """Return the other candidates with their last measured gain and remarks."""
    rows: list[Row] = [
        (
            (name, findings.candidates[name].reference),
            _score(findings.choice.alone.get(name)),
            _points(findings.gains.get(name)),
            "; ".join(_remarks(findings, name)) or NONE,
            *_facts(findings.candidates[name]),
        )
        for name in findings.others
    ]
    return ("candidate", "alone", "last measured gain", "remarks", "licence", ("parameters", "size")), rows


def excluded_table(findings: ScoutFindings) -> tuple[Row, list[Row]]:
    """Return the candidates that were not tried, with reasons."""
    rows: list[Row] = []
    for each in findings.found.excluded:
        out = each.exclusion
        rows.append((each.reference, out.reason if out else NONE, (out.detail if out else "") or NONE))
    for group in findings.found.groups:
        if group.base != findings.group.base:
            base = f"its base is {group.base}" if group.base else group.why
            rows += [(each.reference, "in another group", base) for each in group.members]
    return ("candidate", "reason", "detail"), rows


def _score(value: Interval | None) -> Cell:
    return (
        NONE
        if value is None
        else (wording.percent(value.score), f"{wording.bounds(value)}, {wording.sample(value)}")
    )


def _points(value: Interval | None) -> Cell:
    if value is None:
        return NONE
    points, _, bounds = wording.points(value).replace(" points", "").partition(" ")
    return points, f"{bounds}, {wording.sample(value)}" if value.n else bounds


def _facts(candidate: Candidate) -> tuple[Cell, Cell]:
    facts = candidate.facts
    if facts.n_parameters is None or facts.n_bytes is None:
        return candidate.licence or NONE, NONE
    return candidate.licence or NONE, (count_text(facts.n_parameters), size_text(facts.n_bytes))


def _remarks(findings: ScoutFindings, name: str) -> list[str]:
    remarks = [*findings.remarks.get(name, ())]
    if name in findings.choice.failed:
        remarks.append(f"cannot be scored: {findings.choice.failed[name]}")
    if name in findings.left_out:
        remarks.append("not tried")
    if name in findings.dropped:
        remarks.append("added, and dropped at the end: the others do as well without it")
    return [*remarks, *findings.candidates[name].notes]
