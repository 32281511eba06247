"""Charts as Vega-Lite: one description serves the page, the picture and the browser.

A chart is a plain dictionary (``Spec``), made by the functions of ``kingyo.views.charts``. ``draw`` makes a
PNG of it, ``page`` a place in an HTML file whose script draws it. Colours are CSS variables such as
``var(--accent)``, so a page follows the reader's light or dark theme by itself.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

__all__ = ["Chart", "Datasets", "Rows", "Spec"]

Spec = dict[str, object]
Rows = Sequence[Mapping[str, object]]
"""Data of a chart: one mapping per mark."""
Datasets = Mapping[str, Rows]
"""Rows that several charts share, by the name under which a chart uses them."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: Vega-Lite without size and colours of the theme; sizes are in pixels.

    ``description`` has the content in words, for readers who cannot see it. On a screen narrower than
    ``min_width`` the chart scrolls within its box. ``right`` is room for numbers behind marks that reach the
    right end, ``width`` the width of the picture.
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


INK, MUTED, ACCENT, GREY = "var(--ink)", "var(--muted)", "var(--accent)", "var(--grey)"
_COLOURS: Mapping[str, tuple[str, str]] = {
    "page": ("#fdfdfc", "#131416"),
    "card": ("#ffffff", "#1a1c1f"),
    "ink": ("#1c1c1e", "#ececea"),
    "muted": ("#63666b", "#a1a4a9"),
    "rule": ("#e6e5e2", "#2e3034"),
    "wash": ("#f5f4f1", "#1d1f22"),
    "accent": ("#cf3a1d", "#ff6b47"),
    "accent-text": ("#b93116", "#ff8667"),
    "accent-wash": ("#fdf1ed", "#2b1a15"),
    "grey": ("#8b8e93", "#7b7f85"),
    "grey-light": ("#cdcecf", "#4b4e53"),
    "blue": ("#0072b2", "#56b4e9"),
    "ochre": ("#b07400", "#e69f00"),
    "green": ("#00795a", "#2fc79a"),
    "violet": ("#7a4fb0", "#b394e6"),
    "pink": ("#b8477f", "#ee8fbb"),
    "brown": ("#8a5a3c", "#c79a78"),
}
"""Name -> the colour on light and on dark."""
LIGHT = {name: light for name, (light, _) in _COLOURS.items()}
DARK = {name: dark for name, (_, dark) in _COLOURS.items()}
SOURCES = tuple(f"var(--{name})" for name in ("green", "ochre", "violet", "pink", "brown", "grey"))
"""Colours of models; they avoid the red and blue used for positive and negative numbers."""

LONGEST = 24  # characters of a label beside an axis
_VARIABLE = re.compile(r"var\(--([a-z-]+)\)")


def field(name: str, kind: str = "quantitative", **more: object) -> Spec:
    return {"field": name, "type": kind, **more}


def layers(x: str | None, y: str | None, specs: Sequence[Spec], **more: object) -> Spec:
    """Return layers one above the other, with one title for each axis."""
    titles: dict[str, str | None] = {"x": x, "y": y}

    def titled(one: Spec) -> Spec:
        encoding = cast("dict[str, Spec]", one["encoding"])
        changed = {
            name: {**each, "title": titles[name]}
            for name, each in encoding.items()
            if name in titles and "field" in each
        }
        return {**one, "encoding": {**encoding, **changed}}

    return {**more, "layer": [titled(each) for each in specs if each.get("data") != rows([])]}


def names(
    name: str, order: Sequence[str], *, axis: Mapping[str, object] | None = None, **more: object
) -> Spec:
    """Return an encoding by names in a given order; labels of its axis are never cut to the same text."""
    labels = dict(zip(order, short_labels(order), strict=True))
    shown: Spec = {"labelLimit": 0, "labelExpr": f"{json.dumps(labels)}[datum.label]", **(axis or {})}
    return field(name, "nominal", sort=list(order), axis=shown, **more)


def short_labels(order: Sequence[str]) -> list[str]:
    """Cut the middle of long names, so that different names have different labels."""

    def cut(text: str, most: int) -> str:
        return f"{text[: (most - 1) // 2]}…{text[-(most // 2) :]}" if len(text) > most else text

    most, labels = LONGEST, [*order]
    while max(map(len, labels), default=0) > most:
        labels = [cut(each, most) for each in order]
        if len({*labels}) < len({*order}):
            most, labels = most + 1, [*order]
    return labels


def scale(low: float, high: float) -> Spec:
    """Return a scale whose domain is exactly low to high."""
    return {"domain": [low, high], "nice": False, "zero": False}


def literal_colour(name: str) -> Spec:
    """Return an encoding for a field that contains colours."""
    return {"field": name, "type": "nominal", "scale": None}


def legend_of(colours: Mapping[str, str]) -> Spec:
    """Return a scale of colours with its legend: name -> colour. A layer picks one by ``{"datum": name}``."""
    return {
        "scale": {"domain": list(colours), "range": list(colours.values())},
        "legend": {"title": None, "orient": "bottom", "columns": 2, "symbolOpacity": 1},
    }


def line_among(looks: Mapping[str, tuple[str, Sequence[int]]], name: str) -> dict[str, Spec]:
    """Return the encodings of one of several lines, whose legend shows colours and dashes."""
    legend: Spec = {
        "title": None,
        "orient": "bottom",
        "columns": 2,
        "symbolType": "stroke",
        "symbolSize": 400,
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
    }
    ranges = {
        "stroke": [colour for colour, _ in looks.values()],
        "strokeDash": [list(dashes) for _, dashes in looks.values()],
    }
    return {
        channel: {"datum": name, "scale": {"domain": list(looks), "range": values}, "legend": legend}
        for channel, values in ranges.items()
    }


def tips(*fields: tuple[str, str]) -> list[Spec]:
    """Return the tooltip: the field and the title of each line."""
    return [{"field": name, "title": title} for name, title in fields]


def layer(mark: str, encoding: Mapping[str, object], **look: object) -> Spec:
    layer_keys = {key: look.pop(key) for key in ("data", "transform") if key in look}
    return {**layer_keys, "mark": {"type": mark, **look}, "encoding": dict(encoding)}


def rows(values: Rows) -> Spec:
    return {"values": list(values)}


def variables(theme: Mapping[str, str]) -> str:
    """Return a theme as CSS declarations."""
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


def resolve_variables(text: str) -> str:
    """Replace CSS variables with the light theme's colours, for renderers without CSS."""
    return _VARIABLE.sub(lambda match: LIGHT[match.group(1)], text)
