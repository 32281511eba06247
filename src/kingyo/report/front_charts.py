"""Charts of a run with several objectives: the front, what it beats, parents and controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from kingyo.charts import Chart, Rows, Spec
from kingyo.charts.marks import ACCENT, INK, MUTED, field, layer, layers, legend_of, rows, tips
from kingyo.evolution import FrontPoint
from kingyo.io.units import counted
from kingyo.report.findings import BRED, Findings
from kingyo.space.recipe_objectives import MEASURES

BEATEN, FRONT, KNEE, RIVAL = "beaten", "front", "knee", "parent or control"
COLOURS = {BEATEN: MUTED, FRONT: INK, KNEE: ACCENT, RIVAL: "var(--blue)"}
Pair = tuple[int, int]


def front_charts(findings: Findings) -> list[Chart]:
    """Draw the front: one chart for each two objectives."""
    return [_chart(findings, pair) for pair in combinations(range(len(findings.summary.objectives)), 2)]


def _chart(findings: Findings, pair: Pair) -> Chart:
    front, winner = findings.summary.front, findings.summary.winner
    across, up = (findings.summary.objectives[place] for place in pair)
    bred = [p for p in front.points if winner is not None and p.trial.id == winner.trial.id]
    others = [point for point in front.points if point is not front.knee]
    knee = [point for point in front.points if point is front.knee]
    drawn = [
        _points(findings, BEATEN, _rows(front.beaten, pair), pair, size=24, opacity=0.45),
        _points(findings, FRONT, _rows(others, pair), pair, size=60),
        _points(findings, KNEE, _rows(knee, pair), pair, size=170, shape="diamond"),
        _ring(_rows(bred, pair)),
        *_rivals(findings, pair),
    ]
    return Chart(
        name=f"front-{pair[0]}-{pair[1]}",
        description=f"{across} and {up} in %: {counted(len(front.points), 'trial')} of the front and "
        f"{counted(len(front.beaten), 'beaten one')}; the table below holds the numbers.",
        spec=layers(*axis_titles(findings, pair), drawn),
        height=360,
        width=520,
    )


def _rows(points: Sequence[FrontPoint], pair: Pair) -> Rows:
    return [
        {
            "name": f"trial {p.trial.asked.number}",
            "x": 100 * p.objectives[pair[0]],
            "y": 100 * p.objectives[pair[1]],
        }
        for p in points
    ]


def _points(findings: Findings, name: str, shown: Rows, pair: Pair, **look: object) -> Spec:
    titles = axis_titles(findings, pair)
    x, y = (field(key, scale={"zero": False}) for key in "xy")
    colour = {"datum": name, **legend_of(COLOURS)}
    tooltip = tips(("name", name), ("x", titles[0]), ("y", titles[1]))
    encoding = {"x": x, "y": y, "color": colour, "tooltip": tooltip}
    return layer("point", encoding, data=rows(shown), **{"filled": True, "opacity": 1, **look})


def axis_titles(findings: Findings, pair: Pair) -> tuple[str, str]:
    """Return the titles of two objectives' axes: scores are those on fit."""
    across, up = (findings.summary.objectives[place] for place in pair)
    return _title(across), _title(up)


def _title(objective: str) -> str:
    return f"{objective} in %" if objective in MEASURES else f"{objective}, score on fit in %"


def _ring(shown: Rows) -> Spec:
    """Return a ring around the bred model, which validation picked and need not be the knee on fit."""
    encoding = {"x": field("x"), "y": field("y"), "tooltip": tips(("name", BRED))}
    return layer("point", encoding, data=rows(shown), color=ACCENT, size=420, strokeWidth=2, filled=False)


def _rivals(findings: Findings, pair: Pair) -> Iterator[Spec]:
    """Yield parents and controls: points, or lines where only one of the two objectives is known of them."""
    across, up = pair
    values = [(each.name, each.objectives[across], each.objectives[up]) for each in findings.rivals]
    points: list[dict[str, float | str]] = [
        {"name": name, "x": 100 * x, "y": 100 * y} for name, x, y in values if x is not None and y is not None
    ]
    yield _points(findings, RIVAL, points, pair, size=60, shape="square")
    yield from _names(findings, points, across)
    best = findings.summary.best_parent()
    for name, x, y in values:
        known = {key: 100 * value for key, value in (("x", x), ("y", y)) if value is not None}
        if len(known) == 1 and name in ("uniform", best.name if best else ""):
            yield from _line(name, known)


def _names(findings: Findings, points: Sequence[dict[str, float | str]], across: int) -> Iterator[Spec]:
    """Yield the names beside points, on the side where there is room."""
    front = findings.summary.front
    places = [100 * each.objectives[across] for each in (*front.points, *front.beaten)]
    middle = (min(places) + max(places)) / 2
    text = {"x": field("x"), "y": field("y"), "text": {"field": "name"}}
    for is_right, look in ((True, {"align": "right", "dx": -8}), (False, {"align": "left", "dx": 8})):
        own = [point for point in points if (float(point["x"]) > middle) == is_right]
        yield layer("text", text, data=rows(own), fontSize=11, color="var(--blue)", **look)


def _line(name: str, known: dict[str, float]) -> Iterator[Spec]:
    ((key, _),) = known.items()
    data = rows([{**known, "name": name}])
    look: Spec = {"color": "var(--blue)", "opacity": 0.8}
    yield layer("rule", {key: field(key)}, data=data, strokeDash=[3, 3], **look)
    end: Spec = {"y": {"value": 0}} if key == "x" else {"x": {"value": "width"}}
    place: Spec = {"align": "left", "dx": 3, "dy": 8} if key == "x" else {"align": "right", "dy": -6}
    encoding = {key: field(key), "text": {"field": "name"}, **end}
    yield layer("text", encoding, data=data, fontSize=11, **place, **look)
