"""Charts of a scout: the score by the number of sources, and who solves what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.charts import Chart, Spec
from kingyo.charts.marks import (
    ACCENT,
    INK,
    MUTED,
    field,
    layer,
    layers,
    legend_of,
    literal_colour,
    names,
    rows,
    scale,
    tips,
)
from kingyo.io.units import counted, joined
from kingyo.report import scout_wording as wording
from kingyo.report.scout_findings import MergeStage, ScoutFindings
from kingyo.stats import Interval

Row = dict[str, object]
BLUE = "var(--blue)"

MEASURED, PREDICTED, NEXT = "measured", "predicted", "best further source"
COLOURS = {MEASURED: ACCENT, PREDICTED: BLUE, NEXT: MUTED}
BESIDE = 0.12
"""Distance of a prediction, to the left, from the measurement; 1 is the distance between two numbers."""
STEP, SMALL = 84, 44
"""Width of a source, with its name and without, in pixels."""
MANY = 12
"""Sources, beyond which the curve has no names, and the rows of the heat map are lower."""

ITEMS = 96
"""Most columns of the heat map."""


# the score by the number of sources


def curve_chart(findings: ScoutFindings) -> Chart | None:
    """Draw the scores of the merges along the way, what was predicted, and what the next source would add."""
    stages = [stage for stage in findings.stages if stage.score is not None]
    if not stages:
        return None
    measured = [_measured(stage) for stage in stages]
    final = [] if findings.final is None else [_measured(findings.final, name="without what was dropped")]
    shown = [*measured, *_predicted(findings), *_next(findings), *final]
    width = STEP if len(stages) <= MANY else SMALL
    return Chart(
        name="curve",
        description="Score on fit by the number of sources, with 95% intervals: "
        + "; ".join(f"{row['k']} {row['text']}" for row in measured if "text" in row)
        + ".",
        spec=_curve(shown, measured, len(stages)),
        height=340,
        min_width=width * (len(stages) + 1),
    )


def _measured(stage: MergeStage, name: str | None = None) -> Row:
    label = name or (stage.sources[-1] if stage.sources else "base")
    if stage.score is None:
        return {"k": len(stage.sources), "kind": MEASURED, "name": label}
    return _row(MEASURED, len(stage.sources), label, stage.score, wording.score(stage.score))


def _row(kind: str, k: float, name: str, value: Interval, text: str) -> Row:
    drawn = {"score": value.score, "low": value.low, "high": value.high}
    return {
        "kind": kind,
        "k": k,
        "name": name,
        "text": text,
        "n": value.size if value.n else "–",
        **{key: 100 * min(1.0, max(0.0, each)) for key, each in drawn.items()},
    }


def _above(start: Interval, gain: Interval) -> Interval:
    """Return a score and a gain together, with the interval of the gain."""
    low, mean, high = (start.score + each for each in (gain.low, gain.score, gain.high))
    return replace(gain, score=mean, low=low, high=high)


def _predicted(findings: ScoutFindings) -> list[Row]:
    pairs = zip(findings.stages, findings.stages[1:], strict=False)
    return [
        _row(
            PREDICTED,
            len(after.sources) - BESIDE,
            after.sources[-1],
            _above(before.score, after.predicted),
            f"{wording.points(after.predicted)}, predicted",
        )
        for before, after in pairs
        if before.score is not None and after.predicted is not None
    ]


def _next(findings: ScoutFindings) -> list[Row]:
    best, last = findings.next, findings.stages[-1]
    if best is None or last.score is None:
        return []
    name, gain = best
    return [_row(NEXT, len(last.sources) + 1, name, _above(last.score, gain), wording.points(gain))]


def _curve(shown: Sequence[Row], measured: Sequence[Row], n: int) -> Spec:
    high = max(float(str(row["high"])) for row in shown if "high" in row)
    across = scale(-0.4, n + 0.4)
    y = field("score", scale=scale(0, min(108.0, high * 1.15 + 2)))
    axis = {"values": [*range(n + 1)], "grid": False, "format": "d"}
    x = field("k", scale=across, axis=axis)
    drawn: list[Spec] = [
        layer("line", {"x": x, "y": y}, data=rows(measured), color=ACCENT, strokeWidth=2, opacity=0.5)
    ]
    for kind in COLOURS:
        data = rows([row for row in shown if row["kind"] == kind and "score" in row])
        colour = {"datum": kind, **legend_of(COLOURS, columns=3)}
        tooltip = tips(("name", "source"), ("text", kind), ("n", "n"))
        ends = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}
        look: Spec = {"strokeDash": [3, 3]} if kind != MEASURED else {}
        point = {"x": x, "y": y, "color": colour, "tooltip": tooltip}
        drawn.append(layer("rule", ends, data=data, strokeWidth=1.5, **look))
        drawn.append(layer("point", point, data=data, filled=kind == MEASURED, opacity=1, size=60))
    named = [row for row in shown if row["kind"] != PREDICTED and "score" in row]
    if n <= MANY:
        label = {"x": x, "y": {**y, "field": "high"}, "text": {"field": "name"}}
        drawn.append(layer("text", label, data=rows(named), dy=-8, fontSize=11, limit=STEP, color=INK))
    return layers("sources", "score on fit in %", drawn)


# who solves what


def items_chart(findings: ScoutFindings) -> Chart | None:
    """Draw the item scores of the chosen sources alone, and of the merges along the way."""
    models = _models(findings)
    columns = item_order([*models.values()])
    if not columns:
        return None
    cells: list[Row] = [
        {
            "model": name,
            "place": place,
            "item": item,
            "score": items[item],
            "text": wording.percent(items[item]),
            "fill": BLUE if name in findings.choice.chosen else ACCENT,
        }
        for name, items in models.items()
        for place, item in enumerate(columns)
        if item in items
    ]
    return Chart(
        name="solved",
        description=f"Scores of {counted(len(models), 'model')} on {counted(len(columns), 'fit item')}: "
        + "; ".join(f"{name} {_share(items, columns)}" for name, items in models.items())
        + ".",
        spec=_heat_map(cells, [*models]),
        height=(24 if len(models) <= 2 * MANY else 15) * len(models) + 40,
        min_width=5 * len(columns) + 150,
    )


def _models(findings: ScoutFindings) -> dict[str, Mapping[str, float]]:
    scores, chosen = findings.choice.item_scores, findings.choice.chosen
    alone = {name: scores.get((name,), {}) for name in chosen}
    merges = {
        f"{len(stage.sources)}: + {stage.sources[-1]}": stage.items
        for stage in findings.stages
        if len(stage.sources) > 1
    }
    if findings.final is not None:
        merges[f"{len(chosen)}: − {joined(findings.dropped)}"] = findings.final.items
    return {name: items for name, items in {**alone, **merges}.items() if items}


def item_order(models: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the items that most models were scored on, by the first model that solves them."""
    counts: dict[str, int] = {}
    for items in models:
        for item in items:
            counts[item] = counts.get(item, 0) + 1
    most = sorted(counts, key=lambda item: (-counts[item], item))[:ITEMS]

    def place(item: str) -> tuple[int, int, str]:
        solved = [i for i, items in enumerate(models) if items.get(item, 0.0) >= 0.5]
        return (solved[0] if solved else len(models), -len(solved), item)

    return sorted(most, key=place)


def _share(items: Mapping[str, float], columns: Sequence[str]) -> str:
    scores = [items[item] for item in columns if item in items]
    return f"{wording.percent(sum(scores) / len(scores))} of {len(scores)}" if scores else "–"


def _heat_map(cells: Sequence[Row], order: Sequence[str]) -> Spec:
    y = names("model", order)
    x = field("place", "ordinal", axis={"labels": False}, scale={"paddingInner": 0.08})
    tooltip = tips(("model", "model"), ("item", "item"), ("text", "score"))
    place = {"x": x, "y": y, "tooltip": tooltip}
    strength: Spec = {"field": "score", "type": "quantitative", "scale": None}
    scored = layer("rect", place, fill="var(--grey-light)", opacity=0.45)
    solved = layer("rect", {**place, "fill": literal_colour("fill"), "fillOpacity": strength})
    return layers("fit items", None, [scored, solved], data=rows(cells))
