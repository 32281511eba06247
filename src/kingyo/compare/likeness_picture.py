"""Likeness of streams as a page of heat maps: what leaves a layer against what enters another."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from math import isnan
from pathlib import Path

from kingyo.compare.likeness import Likeness, Measure
from kingyo.compare.page import write_page
from kingyo.errors import KingyoError
from kingyo.sizes import counted

TITLES: Mapping[Measure, str] = {"cosine": "mean cosine", "cka": "linear CKA"}


def check_drawable(target: Path) -> None:
    """Refuse what nobody draws, before anything is measured.

    Raises:
        KingyoError: the name does not end in .html, or plotly is not installed.
    """
    if target.suffix.lower() != ".html":
        raise KingyoError(
            "--picture",
            expected="a file that ends in .html",
            received=str(target),
            remedy="Name it such as layers.html.",
        )
    if find_spec("plotly") is None:
        raise KingyoError(
            "--picture",
            expected="plotly to be installed",
            received="no plotly",
            remedy="Install what draws: pip install plotly",
        )


def draw_likeness(models: Mapping[str, str], n_prompts: int, found: Likeness) -> bytes:
    """Draw both measures into one HTML file.

    Args:
        models: name -> reference.
        n_prompts: that were read.
        found: what was measured on them.
    """
    named = "   ".join(f"{name} = {reference}" for name, reference in models.items())
    basis = (
        f"Over {counted(found.n_tokens, 'token')} of {counted(n_prompts, 'prompt')}; streams of "
        f"width {found.width}."
    )
    return write_page("kingyo layers", (named, basis), [_figure(found, measure) for measure in TITLES])


def _figure(found: Likeness, measure: Measure) -> dict[str, object]:
    names = [f"{name}.{k}" for name, k in found.layers]
    told = [[found.jump(left, entered, measure) for entered in found.layers] for left in found.layers]
    heat = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [[None if isnan(each) else each for each in row] for row in told],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "#f3f1ee"], [1, "#cf3a1d"]],
        "hovertemplate": "from %{y} to %{x}: %{z:.3f}<extra></extra>",
    }
    layout = {
        "title": {"text": f"{TITLES[measure]}: leaves (down), enters (across)", "x": 0.01},
        "height": 160 + 22 * len(names),
        "xaxis": {"type": "category", "title": {"text": "enters", "standoff": 4}},
        "yaxis": {"type": "category", "autorange": "reversed", "title": {"text": "leaves"}},
        "margin": {"t": 48, "b": 64},
    }
    return {"data": [heat], "layout": layout}
