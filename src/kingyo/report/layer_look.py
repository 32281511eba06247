"""What charts of layers have in common: rows, names of bands, the colours of sources and of scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kingyo.report import wording
from kingyo.report.bands import Band, Bands
from kingyo.report.chart import Json, axis, plain
from kingyo.report.routes import Place
from kingyo.results.paths import NamedPath, Step

COLOURS = ("@green", "@ochre", "@violet", "@pink", "@brown", "@grey")
"""Of the sources, in turn: neither the blue nor the red of scales."""
TITLE = 20  # pixels for the name of a band
MANY_ROWS, MANY_COLUMNS = 24, 30
ROW, COLUMN = (22, 12), (26, 13)  # pixels: of few, of many
LONGEST_NAME = 40
MARGIN: Json = {"l": 8, "r": 8, "t": 4, "b": 8}
LABELS = 14  # below a chart; beyond them numbers would overlap


def rows_axis(bands: Bands, row: int) -> Json:
    """The axis of layers, each row so many pixels high."""
    labels = bands.labels(0.7 * TITLE / row)
    return axis() | {
        "range": [0, bands.height],
        "tickvals": list(labels),
        "ticktext": list(labels.values()),
        "tickfont": {"color": "@muted", "size": 11},
        "showgrid": False,
        "ticks": "",
        "ticklabelstandoff": 4,
    }


def band_name(band: Band, role: str, row: int) -> Json:
    """The name of a source above its rows, and what it is beside."""
    return {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "xshift": 4,
        "y": band.top + TITLE / row / 2,
        "yanchor": "middle",
        "showarrow": False,
        "text": f"<b>{plain(band.source, LONGEST_NAME)}</b>{role}",
        "font": {"size": 12, "color": colour_of(band)},
    }


def role(path: NamedPath, source: str) -> str:
    """What a source gives to a path beside layers, to be written behind its name."""
    gives = ["embeddings"] if source == path.embeddings else []
    gives += ["norm", "head"] if source == path.head else []
    return f" gives {wording.listed(gives)}" if gives else ""


def hop_ticks(hops: int) -> list[int]:
    """Which hops have their number below a chart."""
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100, 1000) if hops / each <= LABELS)
    return sorted({1, *range(step, hops + 1, step)})


def group_ticks(groups: int) -> range:
    """Which groups of trials have their label below a map; the first is 0."""
    return range(0, groups, math.ceil(groups / LABELS))


def behind(groups: int) -> float:
    """Where in a map stands what the child passes: behind the last group, which ends at ``groups``."""
    return groups + max(groups, 4) / 12


def returns(steps: Sequence[Step]) -> dict[Place, tuple[int, int]]:
    """The first and the last hop, from 1, through each layer that is passed more than once."""
    hops: dict[Place, list[int]] = {}
    for place, step in enumerate(steps):
        hops.setdefault((step.source, step.layer), []).append(place + 1)
    return {place: (found[0], found[-1]) for place, found in hops.items() if len(found) > 1}


def colour_of(band: Band) -> str:
    """The colour of a source."""
    return COLOURS[band.index % len(COLOURS)]


def colour_bar() -> Json:
    """A quiet bar of colours beside a chart."""
    return {
        "thickness": 10,
        "outlinewidth": 0,
        "tickfont": {"color": "@muted", "size": 11},
        "x": 1.01,
    }


def scale_colours(reach: float, letter: str) -> Json:
    """The colours of log2 scales from -reach to reach; ``letter`` is z in a heat map, c of markers."""
    return {
        f"{letter}min": -reach,
        f"{letter}max": reach,
        "colorscale": [[0, "@heat-low"], [0.5, "@heat-zero"], [1, "@heat-high"]],
    }


def scale_ticks(reach: float) -> Json:
    """The scales that stand beside their colours."""
    shown = written_scales(reach)
    return {"tickvals": list(shown), "ticktext": list(shown.values())}


def written_scales(reach: float) -> dict[float, str]:
    """The scales that stand beside their colours, by their log2."""
    values = [reach * part for part in (-1, -0.5, 0, 0.5, 1)]
    return {value: f"×{2**value:.2g}" for value in values}
