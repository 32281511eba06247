"""A chart as a plotly.js figure: plain JSON, drawn in the browser.

Colours are tokens such as ``@accent``: the page's script fills in the theme's. It knows no single chart.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

Json = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart.

    Attributes:
        name: unique on the page.
        description: what it shows, in words, for those who cannot see it.
        data, layout: of plotly.js.
        height: in pixels.
        min_width: in pixels; where the screen is narrower the chart scrolls within its box.
    """

    name: str
    description: str
    data: Sequence[Json]
    layout: Json
    height: int
    min_width: int = 0

    def to_json(self) -> Json:
        """What the page's script draws."""
        return {"data": list(self.data), "layout": {**_LAYOUT, **self.layout, "height": self.height}}


_LAYOUT: Json = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": "@ink", "size": 13},
    "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    "hoverlabel": {"bgcolor": "@card", "bordercolor": "@rule", "font": {"color": "@ink"}},
    "showlegend": False,
    "dragmode": False,
}


def axis(title: str | None = None) -> Json:
    """A quiet axis: thin grid, no zero line, no zooming by touch (it would catch the scrolling)."""
    return {
        "title": {"text": title, "font": {"color": "@muted", "size": 12}, "standoff": 10},
        "gridcolor": "@rule",
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "tickfont": {"color": "@muted"},
    }


def names_axis(names: Sequence[str]) -> Json:
    """An axis of names at 0, 1, 2, …; places are numbers, so that equal names stay apart."""
    return axis() | {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "showgrid": False,
        "ticks": "",
        "ticklabelstandoff": 6,
        "tickfont": {"color": "@ink"},
    }


def plain(text: str, longest: int | None = None) -> str:
    """Write text for plotly, which reads a little HTML in all labels; cut what is longer than ``longest``."""
    cut = text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
    return html.escape(cut, quote=False)
