"""The map of a scout's candidates: which ones are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kingyo.charts import Chart, Spec
from kingyo.charts.marks import ACCENT, GREY, INK, MUTED, field, layer, layers, legend_of, rows, scale, tips
from kingyo.io.units import counted
from kingyo.report import scout_places
from kingyo.report import scout_wording as wording
from kingyo.report.scout_findings import ScoutFindings

Row = Mapping[str, object]

CHOSEN, TRIED, LEFT_OUT, FAILED = "chosen", "tried", "not tried", "cannot be scored"
KINDS = {CHOSEN: ACCENT, TRIED: MUTED, LEFT_OUT: "var(--ochre)", FAILED: GREY}
SMALLEST, LARGEST = 50.0, 400.0
"""Areas of points without and with the largest gain, in square pixels."""


def map_chart(findings: ScoutFindings) -> Chart | None:
    """Draw the candidates, near one another if their task vectors or their scores are alike."""
    shown, places = map_places(findings)
    if len(shown) < 2:
        return None
    points = scout_places.in_pixels(places.points)
    gains = [max(0.0, findings.gains[name].score) if name in findings.gains else 0.0 for name in shown]
    top = max(gains) or 1.0
    areas = [SMALLEST + (LARGEST - SMALLEST) * gain / top for gain in gains]
    marks = [
        {
            "name": name,
            "kind": _kind(findings, name),
            "x": float(x),
            "y": float(y),
            "area": area,
            "text": wording.points(findings.gains[name]) if name in findings.gains else "–",
            "remark": "; ".join(findings.remarks.get(name, ())) or "–",
        }
        for name, (x, y), area in zip(shown, points, areas, strict=True)
    ]
    spots = scout_places.name_places(points, [float(np.sqrt(each / np.pi)) for each in areas], shown)
    labels = [{"name": shown[i], "x": x, "y": y} for i, (x, y) in spots.items()]
    height = scout_places.height_of(points)
    return Chart(
        name="map",
        description=f"Map of {counted(len(shown), 'candidate')}: "
        + "; ".join(f"{mark['name']} ({mark['kind']})" for mark in marks)
        + ".",
        spec=_spec(marks, labels, height),
        height=round(height) + 40,
        min_width=scout_places.WIDTH,
    )


def map_places(findings: ScoutFindings) -> tuple[list[str], scout_places.Places]:
    """Return the names on the map, the chosen ones first, and places by cosines or by item scores."""
    structure, scores = findings.group.structure, findings.choice.item_scores
    shown = [*findings.choice.chosen, *findings.others]
    if structure is not None:
        order = [findings.names[each.reference] for each in structure.members]
        places = [order.index(name) for name in shown]
        return shown, scout_places.scaled(structure.cosines[np.ix_(places, places)])
    shown = [name for name in shown if (name,) in scores]
    return shown, scout_places.scaled(scout_places.similarity_of_scores([scores[name,] for name in shown]))


def _kind(findings: ScoutFindings, name: str) -> str:
    if name in findings.choice.chosen:
        return CHOSEN
    if name in findings.choice.failed:
        return FAILED
    return LEFT_OUT if name in findings.left_out else TRIED


def _spec(marks: Sequence[Row], labels: Sequence[Row], height: float) -> Spec:
    x = field("x", scale=scale(0, scout_places.WIDTH), axis=None)
    y = field("y", scale={**scale(0, height), "reverse": True}, axis=None)
    kinds = {kind: colour for kind, colour in KINDS.items() if any(mark["kind"] == kind for mark in marks)}
    area: Spec = {"field": "area", "type": "quantitative", "scale": None}
    tooltip = tips(
        ("name", "source"), ("kind", "it is"), ("text", "last measured gain"), ("remark", "remark")
    )
    drawn = [
        layer(
            "point",
            {
                "x": x,
                "y": y,
                "size": area,
                "color": {"datum": kind, **legend_of(kinds, columns=4)},
                "tooltip": tooltip,
            },
            data=rows([mark for mark in marks if mark["kind"] == kind]),
            filled=True,
            opacity=0.85,
        )
        for kind in kinds
    ]
    text = layer(
        "text", {"x": x, "y": y, "text": {"field": "name"}}, data=rows(labels), fontSize=11, color=INK
    )
    return layers(None, None, [*drawn, text])
