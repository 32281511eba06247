"""A comparison as a picture: a PNG by matplotlib, or a page by plotly.js that needs no network."""

# matplotlib's own types leave **kwargs unknown.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.compare.advice import advise, letter
from kingyo.compare.charts import Chart, charts, layers
from kingyo.compare.measures import Comparison
from kingyo.compare.page import INK, write_page
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULE = "#e6e5e2"
COLOURS = ("#cf3a1d", "#0072b2", "#b07400", "#00795a", "#8b5fbf", "#8b8e93")
DPI = 160


def drawer(target: Path) -> Callable[[Comparison], bytes]:
    """Find who draws a file of this name, before anything is compared.

    Raises:
        KingyoError: the name ends neither in .png nor in .html, or what draws it is not installed.
    """
    known = {".png": ("matplotlib", draw_png), ".html": ("plotly", draw_page)}
    if target.suffix.lower() not in known:
        raise KingyoError(
            "--picture",
            expected="a file that ends in .png or .html",
            received=str(target),
            remedy="Name it such as differences.png.",
        )
    package, draw = known[target.suffix.lower()]
    if find_spec(package) is None:
        raise KingyoError(
            "--picture",
            expected=f"{package} to be installed",
            received=f"no {package}",
            remedy=f"Install what draws: pip install {package}",
        )
    return draw


def draw_png(found: Comparison) -> bytes:
    """Draw all charts, one below the other: layers as lines, kinds as bars."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = charts(found)
    figure = Figure(figsize=(11, 2.6 * len(shown) + 0.8), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(shown), 2, width_ratios=[3, 1.3], squeeze=False)
    figure.suptitle(_title(found), fontsize=9, color=INK, x=0.01, ha="left")
    for (left, right), chart in zip(grid, shown, strict=True):
        _draw(chart, found, left, right)
    target = BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _draw(chart: Chart, found: Comparison, left: Axes, right: Axes) -> None:
    """Layers to the left, kinds to the right."""
    width = 0.8 / len(chart.series)
    for place, series in enumerate(chart.series):
        colour = COLOURS[place % len(COLOURS)]
        by_layer, by_kind = ([_number(each) for each in v] for v in (series.by_layer, series.by_kind))
        left.plot(layers(found), by_layer, color=colour, marker="o", ms=3, lw=1.3, label=series.name)
        spots = [kind - 0.4 + (place + 0.5) * width for kind in range(len(by_kind))]
        right.bar(spots, by_kind, width=width, color=colour)
    left.set_title(chart.title, fontsize=10, color=INK, loc="left")
    left.legend(frameon=False, fontsize=8, labelcolor=INK)
    right.set_xticks(range(len(found.kinds)), list(found.kinds))
    for axes in (left, right):
        axes.tick_params(length=0, labelsize=8)
        axes.grid(axis="y", color=RULE, lw=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    left.tick_params("x", rotation=90 if len(layers(found)) > 16 else 0)
    right.tick_params("x", rotation=30)


def draw_page(found: Comparison) -> bytes:
    """Write all charts as one HTML file."""
    drawn = [_figure(chart, found) for chart in charts(found)]
    return write_page("kingyo diff", (_title(found), *found.notes, *advise(found)), drawn)


def _figure(chart: Chart, found: Comparison) -> dict[str, object]:
    data: list[dict[str, object]] = []
    for place, series in enumerate(chart.series):
        look: dict[str, object] = {"name": series.name, "legendgroup": series.name}
        colour = COLOURS[place % len(COLOURS)]
        line = {"type": "scatter", "mode": "lines+markers", "line": {"color": colour}}
        bars = {"type": "bar", "marker": {"color": colour}, "showlegend": False, "xaxis": "x2", "yaxis": "y2"}
        data.append({**look, **line, "x": layers(found), "y": series.by_layer})
        data.append({**look, **bars, "x": list(found.kinds), "y": series.by_kind})
    layout = {
        "title": {"text": chart.title, "font": {"size": 15}, "x": 0.01},
        "height": 320,
        "showlegend": True,
        "xaxis": {"domain": [0, 0.66], "type": "category", "title": {"text": "layer", "standoff": 4}},
        "xaxis2": {"domain": [0.74, 1], "type": "category", "anchor": "y2"},
        "yaxis2": {"anchor": "x2"},
        "plot_bgcolor": "#ffffff",
        "margin": {"t": 48, "b": 48},
    }
    return {"data": data, "layout": layout}


def _title(found: Comparison) -> str:
    names = "   ".join(f"{letter(i)} = {reference}" for i, reference in enumerate(found.models))
    return names if found.base is None else f"{names}   base = {found.base}"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
