"""Maps of the layers that the paths of a search pass: groups of trials across, layers up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kingyo.report.bands import Band, Bands, stack
from kingyo.report.chart import Figure, Json, axis, plain
from kingyo.report.layer_look import (
    COLUMN,
    LABELS,
    MANY_ROWS,
    MARGIN,
    ROW,
    TITLE,
    band_name,
    behind,
    colour_bar,
    group_ticks,
    rows_axis,
    scale_colours,
    scale_ticks,
)
from kingyo.report.routes import Group, Place, Routes
from kingyo.sizes import counted


def usage_chart(routes: Routes, child: str) -> Figure:
    """Draw how many paths of each group pass each layer: groups across, layers up."""
    return _map(
        routes,
        child,
        Measure(
            name="path-layers",
            description="the share of paths that pass a layer",
            value=lambda group, at: 100 * group.passing.get(at, 0) / group.n,
            colours={
                "zmin": 0,
                "zmax": 100,
                "colorscale": [[0, "@heat-zero"], [1, "@heat-high"]],
                "colorbar": colour_bar() | {"ticksuffix": "%", "nticks": 5},
            },
            child={"color": "@accent"},
        ),
    )


def scale_chart(routes: Routes, child: str) -> Figure:
    """Draw the mean scale with which each layer is entered: groups across, layers up."""
    logs = [math.log2(scale) for scale in routes.own_scales.values()]
    own: Json = {"color": logs, **scale_colours(routes.reach, "c")}
    return _map(
        routes,
        child,
        Measure(
            name="path-scales",
            description="the mean scale with which a layer is entered",
            value=lambda group, at: math.log2(group.scales[at]) if at in group.scales else None,
            colours=scale_colours(routes.reach, "z") | {"colorbar": colour_bar() | scale_ticks(routes.reach)},
            child=own | {"line": {"color": "@muted", "width": 1}},
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a map of layers by groups shows.

    Attributes:
        name: of the chart.
        description: in words.
        value: of a group at a layer; None for none.
        colours: of the values, for plotly.
        child: colours of what the child passes.
    """

    name: str
    description: str
    value: Callable[[Group, Place], float | None]
    colours: Json
    child: Json


def _map(routes: Routes, child: str, shown: Measure) -> Figure:
    """A heat map of layers by groups, and behind them what the child passes."""
    row, groups = ROW[sum(routes.layers.values()) > MANY_ROWS], routes.groups
    bands = stack(routes.layers, TITLE / row)
    maps = [_cells(band, groups, shown) for band in bands.bands.values()]
    if routes.path is not None:
        marker: Json = {"symbol": "square", "size": row - 5, **shown.child}
        maps.append(_child(bands, routes) | {"marker": marker})
    layout: Json = {
        "xaxis": axis("generation" if routes.by_generation else "trials from") | _groups(routes, child),
        "yaxis": rows_axis(bands, row),
        "annotations": [band_name(band, "", row) for band in bands.bands.values()],
        "hovermode": "closest",
        "margin": MARGIN,
    }
    return Figure(
        name=shown.name,
        description=f"Heat map of {counted(len(groups), 'group')} of trials: {shown.description}.",
        data=maps,
        layout=layout,
        height=round(bands.height * row) + 56,
        min_width=80 + COLUMN[len(groups) > LABELS] * (len(groups) + 2),
    )


def _cells(band: Band, groups: Sequence[Group], shown: Measure) -> Json:
    places = [(band.source, layer) for layer in range(band.layers)]
    return {
        "type": "heatmap",
        "x": list(range(len(groups) + 1)),
        "y": [band.zero + layer for layer in range(band.layers + 1)],
        "z": [[shown.value(group, place) for group in groups] for place in places],
        "xgap": 1,
        "ygap": 1,
        "hovertext": [[_said_of_group(group, place) for group in groups] for place in places],
        "hoverinfo": "text",
        "showscale": band.index == 0,
        **shown.colours,
    }


def _said_of_group(group: Group, place: Place) -> str:
    source, layer = place
    n = group.passing.get(place, 0)
    said = f"<b>{plain(source)}</b>, layer {layer}<br>{group.said}<br>passed by {n} of {group.n}"
    if not n:
        return said
    often = f", {counted(group.passes[place], 'pass', 'passes')}" if group.passes[place] > n else ""
    scale = group.scales[place]
    return f"{said}{often}" + ("" if scale == 1 else f"<br>mean scale ×{scale:.3g}")


def _child(bands: Bands, routes: Routes) -> Json:
    """A square for each layer that the child passes, behind the last group."""
    passed = routes.own_scales
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [behind(len(routes.groups))] * len(passed),
        "y": [bands.bands[source].row(layer) for source, layer in passed],
        "hovertext": [
            f"<b>{plain(source)}</b>, layer {layer}<br>passed by it, scale ×{scale:.3g}"
            for (source, layer), scale in passed.items()
        ],
        "hoverinfo": "text",
    }


def _groups(routes: Routes, child: str) -> Json:
    n = len(routes.groups)
    chosen = group_ticks(n)
    own = [behind(n)] if routes.path is not None else []
    return {
        "range": [0, 2 * behind(n) - n if own else n],
        "ticks": "",
        "tickvals": [*(i + 0.5 for i in chosen), *own],
        "ticktext": [*(routes.groups[i].label for i in chosen), *[f"<b>{child}</b>" for _ in own]],
        "showgrid": False,
    }
