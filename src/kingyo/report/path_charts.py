"""The chart of a path, hop by hop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from kingyo.report.bands import Band, Bands, stack
from kingyo.report.chart import Figure, Json, axis, plain
from kingyo.report.layer_look import (
    COLUMN,
    MANY_COLUMNS,
    MANY_ROWS,
    MARGIN,
    ROW,
    TITLE,
    band_name,
    colour_bar,
    colour_of,
    hop_ticks,
    returns,
    role,
    rows_axis,
    scale_colours,
    scale_ticks,
)
from kingyo.report.routes import Routes
from kingyo.results.paths import NamedPath, Step
from kingyo.sizes import counted


def path_chart(routes: Routes, path: NamedPath) -> Figure:
    """Draw a path: hops across, layers up, a band for each source, scales as colour."""
    hops = len(path.steps)
    row = ROW[sum(path.layers.values()) > MANY_ROWS]
    column = COLUMN[hops > MANY_COLUMNS]
    bands = stack(path.layers, TITLE / row, path)
    layout: Json = {
        "xaxis": axis("hop") | {"range": [-0.6, hops + 1.6], "tickvals": hop_ticks(hops), "showgrid": False},
        "yaxis": rows_axis(bands, row),
        "shapes": [_tint(band) for band in bands.bands.values()],
        "annotations": [band_name(band, role(path, band.source), row) for band in bands.bands.values()],
        "hovermode": "closest",
        "margin": MARGIN,
    }
    return Figure(
        name="path",
        description=f"The path of {counted(hops, 'hop')}: {path.line}; {path.ends}.",
        data=[
            *_returns(bands, path.steps),
            _line(bands, path.steps),
            _ends(bands, path),
            _squares(bands, path.steps, min(row, column) - 3, routes.reach),
        ],
        layout=layout,
        height=round(bands.height * row) + 56,
        min_width=80 + column * (hops + 2),
    )


def _squares(bands: Bands, steps: Sequence[Step], size: int, reach: float) -> Json:
    colours = [colour_of(bands.bands[step.source]) for step in steps]
    fill: Json = {"color": colours}
    if reach:
        fill = {"color": [math.log2(step.scale) for step in steps], **scale_colours(reach, "c")}
        fill["colorbar"] = (
            colour_bar()
            | scale_ticks(reach)
            | {"title": {"text": "scale", "font": {"size": 11, "color": "@muted"}}}
        )
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place + 1 for place in range(len(steps))],
        "y": [bands.bands[step.source].row(step.layer) for step in steps],
        "marker": {
            "symbol": ["square" if step.time == 1 else "diamond" for step in steps],
            "size": size,
            "opacity": 1,
            "line": {"color": colours, "width": 1.6 if size > ROW[1] else 1.1},
            **fill,
        },
        "hovertext": [_said_of_step(place + 1, step) for place, step in enumerate(steps)],
        "hoverinfo": "text",
        "cliponaxis": False,
    }


def _said_of_step(number: int, step: Step) -> str:
    again = "" if step.time == 1 else f"<br>passed for the {ordinal(step.time)} time"
    return (
        f"hop {number}: <b>{plain(step.source)}</b>, layer {step.layer}<br>"
        f"scale ×{step.scale:.3g}, cumulative ×{step.cumulative:.3g}{again}"
    )


def ordinal(n: int) -> str:
    """Write 2nd, 3rd, 11th."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _line(bands: Bands, steps: Sequence[Step]) -> Json:
    rows = [bands.bands[step.source].row(step.layer) for step in steps]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(range(len(steps) + 2)),
        "y": [bands.begin, *rows, bands.end],
        "line": {"color": "@grey", "width": 1.4},
        "hoverinfo": "skip",
    }


def _ends(bands: Bands, path: NamedPath) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [0, len(path.steps) + 1],
        "y": [bands.begin, bands.end],
        "marker": {"symbol": "circle", "size": 8, "color": "@ink"},
        "hovertext": [f"embeddings of {plain(path.embeddings)}", f"norm and head of {plain(path.head)}"],
        "hoverinfo": "text",
        "cliponaxis": False,
    }


def _returns(bands: Bands, steps: Sequence[Step]) -> Iterator[Json]:
    """A dotted line between the first and the last pass of a layer."""
    for (source, layer), ends in returns(steps).items():
        band = bands.bands[source]
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": list(ends),
            "y": [band.row(layer)] * 2,
            "line": {"color": colour_of(band), "width": 1.2, "dash": "dot"},
            "hoverinfo": "skip",
        }


def _tint(band: Band) -> Json:
    return {
        "type": "rect",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": band.low,
        "y1": band.high,
        "fillcolor": colour_of(band),
        "opacity": 0.09,
        "line": {"width": 0},
        "layer": "below",
    }
