"""Charts of paths: the child's, hop by hop, and the layers that the paths of the search pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from kingyo.charts import Chart, Rows, Spec
from kingyo.charts.colours import SOURCES
from kingyo.charts.marks import (
    ACCENT,
    GREY,
    INK,
    field,
    layer,
    layers,
    literal_colour,
    names,
    rows,
    scale,
    tips,
)
from kingyo.io.units import counted
from kingyo.report.path_usage import Routes, TrialGroup
from kingyo.results.layer_paths import NamedPath, PathStep

MANY = 24  # rows, beyond which they are lower
HIGH, LOW = 20, 12  # pixels of a row: of few, of many
COLUMN = 14  # pixels of a hop or group, at least


def path_chart(path: NamedPath) -> Chart:
    """Draw a path: hops across, layers up, the last on top; scales as colour."""
    order = list(_places(path.layers, path))
    hops = len(path.steps)
    x = field("hop", scale=scale(-0.6, hops + 1.6), axis={"grid": False, "tickMinStep": 1})
    y = _rows_of(order)
    ends = [
        {"hop": 0, "place": f"{path.embeddings} embeddings"},
        {"hop": hops + 1, "place": f"{path.head} norm, head"},
    ]
    steps = list(_steps(path))
    line = [ends[0], *steps, ends[1]]
    drawn = [
        _tint(path.layers, order),
        layer("line", {"x": x, "y": y, "order": field("hop")}, data=rows(line), color=GREY, strokeWidth=1.4),
        layer("point", {"x": x, "y": y}, data=rows(ends), filled=True, color=INK, opacity=1, size=55),
        _returns(path.steps),
        _marks(steps, is_low=len(order) > MANY),
    ]
    return Chart(
        name="path",
        description=f"The path of {counted(hops, 'hop')}: {path.line}; {path.ends}.",
        spec=layers("hop", None, drawn),
        height=_height(order),
        min_width=120 + COLUMN * (hops + 2),
    )


def usage_chart(routes: Routes, child: str) -> Chart:
    """Draw how many paths of each group pass each layer: groups across, layers up."""
    order = list(_places(routes.layers, None))
    columns = [group.label for group in routes.groups] + ([child] if routes.path else [])
    y = _rows_of(order)
    title = "generation" if routes.by_generation else "trials from"
    x = names("group", columns, axis={"labelAngle": 0, "labelOverlap": True})
    shown = [row for group in routes.groups for row in _shares(group, routes.layers)]
    tooltip = tips(("place", "layer"), ("title", "paths"), ("text", "passed by"))
    share = {"field": "share", "type": "quantitative", "scale": None}
    cells = {"x": x, "y": y, "fillOpacity": share, "tooltip": tooltip}
    own = (
        {_place(step): {"group": child, "place": _place(step)} for step in routes.path.steps}
        if routes.path
        else {}
    )
    drawn = [
        layer("rect", cells, data=rows(shown), fill=ACCENT, stroke="var(--page)"),
        layer("point", {"x": x, "y": y}, data=rows([*own.values()]), **_square(len(order) > MANY)),
    ]
    return Chart(
        name="path-layers",
        description=f"Share of paths that pass a layer, by {counted(len(routes.groups), 'group')} of trials.",
        spec=layers(title, None, drawn),
        height=_height(order),
        min_width=120 + COLUMN * len(columns),
    )


def _places(layers: Mapping[str, int], path: NamedPath | None) -> Iterator[str]:
    """Yield the rows from the top: source by source, the last layer first."""
    for source, n in layers.items():
        if path is not None and source == path.head:
            yield f"{source} norm, head"
        yield from (f"{source} {k}" for k in reversed(range(n)))
        if path is not None and source == path.embeddings:
            yield f"{source} embeddings"


def _place(step: PathStep) -> str:
    return f"{step.source} {step.layer}"


def _rows_of(order: Sequence[str]) -> Spec:
    return names(
        "place", order, scale={"domain": list(order)}, axis={"labelOverlap": True, "labelFontSize": 11}
    )


def _height(order: Sequence[str]) -> int:
    return (LOW if len(order) > MANY else HIGH) * len(order) + 50


def _tint(layers: Mapping[str, int], order: Sequence[str]) -> Spec:
    """Return a faint band behind the rows of each source, in its colour."""
    values = [
        {"place": place, "fill": SOURCES[number % len(SOURCES)]}
        for number, source in enumerate(layers)
        for place in order
        if place.rpartition(" ")[0] in (source, f"{source} norm,")
    ]
    return layer(
        "rect", {"y": _rows_of(order), "fill": literal_colour("fill")}, data=rows(values), opacity=0.1
    )


def _steps(path: NamedPath) -> Iterator[dict[str, object]]:
    colours = {source: SOURCES[number % len(SOURCES)] for number, source in enumerate(path.layers)}
    reach = max((abs(math.log2(step.scale)) for step in path.steps), default=0.0)
    for number, step in enumerate(path.steps):
        power = math.log2(step.scale)
        scaled = ACCENT if power > 0 else "var(--blue)"
        yield {
            "hop": number + 1,
            "place": _place(step),
            "edge": colours[step.source],
            "fill": scaled if reach else colours[step.source],
            "strength": abs(power) / reach if reach else 0.9,
            "shape": "square" if step.time == 1 else "diamond",
            "scale": f"×{step.scale:.3g}",
            "cumulative": f"×{step.cumulative:.3g}",
            "time": step.time,
        }


def _marks(steps: Rows, *, is_low: bool) -> Spec:
    tooltip = tips(
        ("hop", "hop"), ("place", "layer"), ("scale", "scale"), ("cumulative", "product"), ("time", "pass")
    )
    encoding = {
        "x": field("hop"),
        "y": field("place", "nominal"),
        "stroke": literal_colour("edge"),
        "fill": literal_colour("fill"),
        "fillOpacity": {"field": "strength", "type": "quantitative", "scale": None},
        "shape": literal_colour("shape"),
        "tooltip": tooltip,
    }
    return layer("point", encoding, data=rows(steps), size=50 if is_low else 130, strokeWidth=1.4, opacity=1)


def _returns(steps: Sequence[PathStep]) -> Spec:
    """Return a dotted line between the first and the last pass of each layer that is passed again."""
    hops: dict[str, list[int]] = {}
    for number, step in enumerate(steps):
        hops.setdefault(_place(step), []).append(number + 1)
    values = [{"place": place, "hop": own[0], "to": own[-1]} for place, own in hops.items() if len(own) > 1]
    encoding = {"x": field("hop"), "x2": {"field": "to"}, "y": field("place", "nominal")}
    return layer("rule", encoding, data=rows(values), color=INK, strokeDash=[2, 3])


def _shares(group: TrialGroup, layers: Mapping[str, int]) -> Iterator[dict[str, object]]:
    for source, n in layers.items():
        for k in range(n):
            passing = group.passing.get((source, k), 0)
            text = f"{passing} of {group.n}"
            place = {"group": group.label, "place": f"{source} {k}", "title": group.title}
            yield {**place, "share": passing / group.n, "text": text}


def _square(is_low: bool) -> Spec:
    return {"shape": "square", "filled": True, "color": INK, "opacity": 1, "size": 40 if is_low else 90}
