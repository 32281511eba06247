"""A chart as a PNG, and the JavaScript that draws charts in a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

from kingyo.charts import Chart, Datasets, Spec
from kingyo.charts.colours import resolve_variables

FONT = 'system-ui, "Hiragino Sans", "Noto Sans CJK JP", "Noto Sans", "DejaVu Sans", sans-serif'
EXPORTS = "window.vegaEmbed = vegaEmbed;"
SCALE = 2  # pixels of a picture to each of the page

_TEXT: Spec = {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal"}
CONFIG: Spec = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titlePadding": 8,
        "labelPadding": 6,
        "labelLimit": 130,
        "gridColor": "var(--rule)",
        "domain": False,
        "ticks": False,
    },
    "axisDiscrete": {"labelColor": "var(--ink)", "grid": False},
    "legend": {**_TEXT, "labelFontSize": 12, "labelLimit": 150, "symbolSize": 70, "rowPadding": 5},
    "title": {"anchor": "start", "color": "var(--ink)", "fontSize": 13, "fontWeight": 600},
    "text": {"color": "var(--ink)", "fontSize": 12},
    "rule": {"color": "var(--ink)"},
}


def full_spec(chart: Chart, width: int | str) -> Spec:
    """Return a chart's whole Vega-Lite: ``width`` in pixels, or ``container`` for that of its place."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": chart.description,
        "width": width,
        "height": chart.height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": {"left": 4, "top": 6, "bottom": 4, "right": chart.right},
        "config": CONFIG,
        **chart.spec,
    }


def png(chart: Chart, datasets: Datasets | None = None) -> bytes:
    """Draw a chart in the light theme.

    Args:
        chart: what to draw.
        datasets: what charts share.
    """
    import vl_convert

    spec = full_spec(chart, max(chart.width, chart.min_width)) | {"datasets": datasets or {}}
    spec["config"] = CONFIG | {"background": "#ffffff"}
    return vl_convert.vegalite_to_png(resolve_variables(json.dumps(spec)), scale=SCALE)


def png_of_several(charts: Sequence[Chart], columns: int, title: str) -> bytes:
    """Draw charts in columns, under one title."""
    import vl_convert

    spec: Spec = {
        "title": {"text": title, "offset": 18, "fontWeight": "normal"},
        "padding": 12,
        "columns": columns,
        "config": CONFIG | {"background": "#ffffff"},
        "resolve": {"scale": {"color": "independent"}},
        "concat": [{"width": each.width, "height": each.height, **each.spec} for each in charts],
    }
    return vl_convert.vegalite_to_png(resolve_variables(json.dumps(spec)), scale=SCALE)


@cache
def javascript() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script that needs no network."""
    import vl_convert

    return str(vl_convert.javascript_bundle(EXPORTS))  # pyright: ignore[reportUnknownArgumentType]
