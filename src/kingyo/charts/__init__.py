"""Charts as Vega-Lite: one description serves the page, the picture and the browser.

A chart is a plain dictionary (``Spec``), made by the functions of ``kingyo.charts.marks``. ``draw`` makes a
PNG of it, ``page`` a place in an HTML file whose script draws it. Colours are CSS variables such as
``var(--accent)``, so a page follows the reader's light or dark theme by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Datasets", "Rows", "Spec"]

Spec = dict[str, object]
Rows = Sequence[Mapping[str, object]]
"""Data of a chart: one mapping per mark."""
Datasets = Mapping[str, Rows]
"""Rows that several charts share, by the name under which a chart uses them."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart.

    Attributes:
        name: unique on a page; the picture is ``name.png``.
        description: the content in words, for readers who cannot see it.
        title, note: what stands above and below it on a page; may be empty.
        spec: Vega-Lite, without size and colours of the theme.
        height: height in pixels.
        min_width: minimum width in pixels; on a narrower screen the chart scrolls within its box.
        right: room for numbers behind marks that reach the right end, in pixels.
        width: width of the picture, in pixels.
    """

    name: str
    description: str
    title: str = ""
    note: str = ""
    spec: Spec
    height: int = 300
    min_width: int = 0
    right: int = 4
    width: int = 640
