"""Draw charts: as PNG, or on an HTML page that needs no network and may not use any.

Templates escape whatever they are given. The content policy allows only the scripts that the page was written
with, and Vega evaluates its expressions without ``eval``.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from kingyo.views.charts import DARK, LIGHT, Chart, Datasets, Spec, resolve_variables, variables

if TYPE_CHECKING:
    from jinja2 import Environment

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
    """Draw a chart in the light theme."""
    import vl_convert

    spec = full_spec(chart, max(chart.width, chart.min_width)) | {"datasets": datasets or {}}
    spec["config"] = CONFIG | {"background": "#ffffff"}
    return vl_convert.vegalite_to_png(resolve_variables(json.dumps(spec)), scale=SCALE)


def render(room: str, template: str, context: Mapping[str, object]) -> bytes:
    """Fill in a template that extends ``charts/base.html.jinja``."""
    scripts = (_javascript(), _shipped("page.js"))
    page = _environment(room).get_template(f"{room}/{template}.html.jinja")
    content = page.render(
        **context,
        scripts=scripts,
        policy=_policy(scripts),
        style=_shipped("page.css"),
        light=variables(LIGHT),
        dark=variables(DARK),
        fish=_shipped("fish.svg"),
    )
    return content.encode(errors="backslashreplace")  # a path may be no UTF-8


@cache
def _javascript() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script that needs no network."""
    import vl_convert

    return str(vl_convert.javascript_bundle(EXPORTS))  # pyright: ignore[reportUnknownArgumentType]


@cache
def _environment(room: str) -> Environment:
    from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined

    rooms = {"charts": PackageLoader("kingyo.views.charts")}
    if room != "charts":
        rooms[room] = PackageLoader(f"kingyo.{room}")
    made = Environment(
        loader=PrefixLoader(rooms),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["full_spec"] = full_spec  # pyright: ignore[reportUnknownMemberType]
    return made


def _policy(scripts: Iterable[str]) -> str:
    """Allow no network, and no script but these: one in a model's answer stays text."""
    digests = (b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    hashes = " ".join(f"'sha256-{each}'" for each in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _shipped(name: str) -> str:
    return resources.files("kingyo.views.charts").joinpath(name).read_text(encoding="utf-8")
