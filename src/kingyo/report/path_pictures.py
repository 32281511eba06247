"""The charts of paths as PNG files: the bred model's path, and the layers that the search's paths pass."""

# matplotlib's own types leave **kwargs unknown.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.spines import Spine

from kingyo.report.bands import Band, Bands, stack
from kingyo.report.layer_look import behind, group_ticks, hop_ticks, returns, role, written_scales
from kingyo.report.palette import ACCENT, GREY, INK, MUTED, POSITIVE, SIGNED, SOURCES
from kingyo.report.routes import Group, Place, Routes
from kingyo.results.paths import NamedPath

MANY = 24  # rows, or columns: of more all is drawn smaller
ROW, COLUMN = (0.26, 0.14), (0.42, 0.16)  # inches: of few, of many
TITLE, MARGINS = 0.26, (2.2, 0.7)  # inches: for the name of a band; around all
NARROWEST, WIDEST = 5.2, 15.0  # inches
POINTS = 72  # to the inch

Colour = str | tuple[float, float, float, float]
Picture = tuple[tuple[float, float], Callable[[Axes], None]]
"""Its size in inches, and what draws it."""


def path_pictures(routes: Routes, child: str) -> Iterator[tuple[str, Picture]]:
    """Return file name, size and drawing of each picture for which there is something to draw.

    Args:
        routes: the paths.
        child: what the bred model may be called.
    """
    path = routes.path
    if path is not None:
        row = ROW[sum(path.layers.values()) > MANY]
        size = _size(len(path.steps), stack(path.layers, TITLE / row, path), row)
        yield "path.png", (size, lambda axes: _path(axes, routes, path, row))
    if not routes.groups:
        return
    row = ROW[sum(routes.layers.values()) > MANY]
    size = _size(len(routes.groups), stack(routes.layers, TITLE / row), row)
    yield "path-layers.png", (size, lambda axes: _shares(axes, routes, child, row))
    if routes.reach:
        yield "path-scales.png", (size, lambda axes: _scales(axes, routes, child, row))


def _size(columns: int, bands: Bands, row: float) -> tuple[float, float]:
    width = COLUMN[columns > MANY] * (columns + 2) + MARGINS[0]
    return min(WIDEST, max(NARROWEST, width)), bands.height * row + MARGINS[1]


def _path(axes: Axes, routes: Routes, path: NamedPath, row: float) -> None:
    bands, hops = stack(path.layers, TITLE / row, path), len(path.steps)
    axes.set_xlim(-0.6, hops + 1.6)
    for band in bands.bands.values():
        axes.axhspan(band.low, band.high, color=_colour(band), alpha=0.09, lw=0)
    _rows(axes, bands, row, {source: role(path, source) for source in path.layers})
    for (source, layer), ends in returns(path.steps).items():
        band = bands.bands[source]
        axes.plot(ends, [band.row(layer)] * 2, color=_colour(band), lw=1, ls=":", zorder=1)
    rows = [bands.bands[step.source].row(step.layer) for step in path.steps]
    if bands.begin is not None and bands.end is not None:
        axes.plot([0, hops + 1], [bands.begin, bands.end], "o", color=INK, ms=4, zorder=3)
    ends = [math.nan if end is None else end for end in (bands.begin, bands.end)]
    axes.plot(range(hops + 2), [ends[0], *rows, ends[1]], color=GREY, lw=1, zorder=2)
    _marks(axes, routes, path, bands, row)
    axes.set_xticks(hop_ticks(hops))
    is_again = any(step.time > 1 for step in path.steps)
    axes.set_xlabel(f"hop{'; diamonds: a layer passed before' if is_again else ''}", fontsize=9, color=MUTED)
    if routes.reach:
        _bar(axes, _shade(routes), written_scales(routes.reach), "scale")


def _marks(axes: Axes, routes: Routes, path: NamedPath, bands: Bands, row: float) -> None:
    """Squares, and diamonds where a layer was passed before."""
    found = [bands.bands[step.source] for step in path.steps]
    colours: list[Colour] = [_colour(band) for band in found]
    fills = [_shaded(routes, step.scale) for step in path.steps] if routes.reach else colours
    side = POINTS * row * 0.68
    for shape, again, size in (("s", False, side), ("D", True, 0.85 * side)):
        chosen = [i for i, step in enumerate(path.steps) if (step.time > 1) == again]
        axes.scatter(
            [i + 1 for i in chosen],
            [found[i].row(path.steps[i].layer) for i in chosen],
            s=size**2,
            marker=shape,
            c=[fills[i] for i in chosen],
            edgecolors=[colours[i] for i in chosen],
            linewidths=1.1,
            zorder=4,
        )


def _shares(axes: Axes, routes: Routes, child: str, row: float) -> None:
    shade = ScalarMappable(Normalize(0, 100), POSITIVE)
    _map(axes, routes, row, shade, lambda group, at: 100 * group.passing.get(at, 0) / group.n)
    _child(axes, routes, child, dict.fromkeys(routes.own_scales, ACCENT), row)
    axes.set_title("share of the paths that pass a layer", fontsize=9, color=MUTED, loc="left")
    _bar(axes, shade, {0: "0%", 50: "50%", 100: "100%"})


def _scales(axes: Axes, routes: Routes, child: str, row: float) -> None:
    shade = _shade(routes)
    _map(
        axes,
        routes,
        row,
        shade,
        lambda group, at: math.log2(group.scales[at]) if at in group.scales else math.nan,
    )
    own = {at: _shaded(routes, scale) for at, scale in routes.own_scales.items()}
    _child(axes, routes, child, own, row)
    axes.set_title("mean scale of what enters a layer", fontsize=9, color=MUTED, loc="left")
    _bar(axes, shade, written_scales(routes.reach))


def _map(
    axes: Axes,
    routes: Routes,
    row: float,
    shade: ScalarMappable,
    value: Callable[[Group, Place], float],
) -> None:
    bands, groups = stack(routes.layers, TITLE / row), routes.groups
    low, high = shade.get_clim()
    for band in bands.bands.values():
        axes.pcolormesh(
            range(len(groups) + 1),
            [band.zero + layer for layer in range(band.layers + 1)],
            [[value(group, (band.source, layer)) for group in groups] for layer in range(band.layers)],
            cmap=shade.get_cmap(),
            vmin=low,
            vmax=high,
            edgecolors="white",
            lw=0.5,
        )
    _rows(axes, bands, row, {})
    axes.set_xlim(0, len(groups))
    axes.set_xticks(
        [i + 0.5 for i in group_ticks(len(groups))], [groups[i].label for i in group_ticks(len(groups))]
    )
    axes.set_xlabel("generation" if routes.by_generation else "trials from", fontsize=9, color=MUTED)


def _child(axes: Axes, routes: Routes, child: str, passed: Mapping[Place, Colour], row: float) -> None:
    """A square for each layer that the child passes, behind the last group."""
    if not passed:
        return
    groups, bands = len(routes.groups), stack(routes.layers, TITLE / row)
    place = behind(groups)
    axes.set_xlim(0, 2 * place - groups)
    axes.scatter(
        [place] * len(passed),
        [bands.bands[source].row(layer) for source, layer in passed],
        s=(POINTS * row * 0.66) ** 2,
        marker="s",
        c=list(passed.values()),
        edgecolors=MUTED,
        linewidths=0.5,
    )
    axes.annotate(
        child.replace(" ", "\n", 1),
        (place, 0),
        xytext=(0, -5),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=9,
        fontweight="bold",
        color=INK,
        annotation_clip=False,
    )


def _rows(axes: Axes, bands: Bands, row: float, roles: Mapping[str, str]) -> None:
    """The numbers of layers, and the name of each band above its rows."""
    labels = bands.labels(0.13 / row)
    axes.set_ylim(0, bands.height)
    axes.set_yticks(list(labels), list(labels.values()), fontsize=8)
    for band in bands.bands.values():
        axes.annotate(
            f"{band.source}{roles.get(band.source, '')}",
            (0, band.top + TITLE / row / 2),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_colour(band),
        )


def _bar(axes: Axes, shade: ScalarMappable, labels: Mapping[float, str], title: str = "") -> None:
    bar = axes.figure.colorbar(shade, ax=axes, fraction=0.03, pad=0.02, ticks=list(labels))
    bar.ax.set_yticklabels(list(labels.values()))
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    bar.ax.set_title(title, fontsize=8, color=MUTED)
    cast(Spine, bar.outline).set_visible(False)


def _shade(routes: Routes) -> ScalarMappable:
    return ScalarMappable(Normalize(-routes.reach, routes.reach), SIGNED)


def _shaded(routes: Routes, scale: float) -> Colour:
    return SIGNED((1 + math.log2(scale) / routes.reach) / 2)


def _colour(band: Band) -> str:
    return SOURCES[band.index % len(SOURCES)]
