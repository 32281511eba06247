"""Charts of models side by side, of the importance of genes, of one model's genes, and of the front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean

from kingyo.core.io.units import counted
from kingyo.runs.choice import ChosenSources
from kingyo.search.evolution import FrontPoint
from kingyo.search.evolution.objectives import has_item_scores, is_share
from kingyo.stats import Interval
from kingyo.views.charts import (
    ACCENT,
    GREY,
    INK,
    MUTED,
    Chart,
    Rows,
    Spec,
    field,
    layer,
    layers,
    legend_of,
    literal_colour,
    names,
    rows,
    scale,
    tips,
)
from kingyo.views.choice import last_gain, shown_candidates
from kingyo.views.results.genes import Gene, Matrix, mean_text
from kingyo.views.results.summary import BRED
from kingyo.views.results.trials import MINUS, SHARES, percent
from kingyo.views.run_data import Bar, RunData

FILLS = {"bred": ACCENT, "baseline": GREY, "control": "var(--grey-light)"}
ROOM = 56  # pixels for the number behind the longest bar
MAX_GENES = 12  # of the chart of importance
MANY = 24  # rows, beyond which they are lower
BEATEN, FRONT, KNEE, RIVAL = "beaten", "front", "knee", "parent or control"
COLOURS = {BEATEN: MUTED, FRONT: INK, KNEE: ACCENT, RIVAL: "var(--blue)"}
Pair = tuple[int, int]


def score_chart(bars: Sequence[Bar], split: str, sizes: str, note: str) -> Chart:
    """Draw the scores of all models with their intervals, one bar each; ``sizes`` says on how many items."""
    shown = [
        {"name": bar.name, "fill": FILLS[bar.role], **_interval(bar.score), "text": _written(bar)}
        for bar in bars
    ]
    description = "; ".join(f"{bar.name} {SHARES.bounded(bar.score)}" for bar in bars)
    return Chart(
        name="bars",
        description=f"Scores on {split}, with 95% intervals: {description}.",
        note=note,
        spec=_bars(shown, f"score on {split} in %, {sizes}, 95% intervals", [0, 25, 50, 75, 100], 100),
        height=34 * len(bars) + 60,
        right=ROOM,
    )


def importance_chart(genes: Sequence[Gene]) -> Chart:
    """Draw how much each gene decided between good and bad trials."""
    known = [(gene, gene.importance) for gene in genes if gene.importance is not None][:MAX_GENES]
    shown = [
        {"name": gene.name, "fill": GREY, **_interval(share), "text": f"{100 * share.score:.0f}%"}
        for gene, share in known
    ]
    description = "; ".join(f"{gene.name} {percent(share.score)}" for gene, share in known)
    top = 100 * max(share.high for _, share in known)
    return Chart(
        name="importance",
        description=f"Importance of genes, with 95% intervals: {description}.",
        title="Importance",
        note=f"How far the best quarter of the {known[0][1].n} trials lies from all trials, gene by gene, as "
        "a share of the sum (PED-ANOVA); lines are 95% bootstrap intervals over trials. The search chose "
        "where to look, so read it as a hint.",
        spec=_bars(shown, "importance in %", None, top),
        height=28 * len(shown) + 60,
        right=ROOM,
    )


def gains_chart(choice: ChosenSources) -> Chart | None:
    """Draw what each candidate added when it was last tried; None if no gain was measured."""
    gains = [(name, last_gain(choice, name)) for name in shown_candidates(choice)]
    known = [(name, gain.interval) for name, gain in gains if gain is not None]
    if not known:
        return None
    shown = [
        {
            "name": name,
            "fill": ACCENT if name in choice.chosen else GREY,
            **_interval(gain),
            "text": SHARES.difference(gain.score).removesuffix(" points"),
        }
        for name, gain in known
    ]
    low, high = (100 * bound for bound in (min(g.low for _, g in known), max(g.high for _, g in known)))
    description = "; ".join(f"{name} {SHARES.bounded_difference(gain)}" for name, gain in known)
    return Chart(
        name="gains",
        description=f"Gains of candidates, with 95% intervals: {description}.",
        note="Red: the chosen sources, in the order in which they were added. A gain is the difference from "
        "the merge of the sources that were chosen by then, on the same fit items.",
        spec=_bars(shown, "gain in points, 95% intervals", None, high, min(0.0, low)),
        height=28 * len(shown) + 60,
        right=ROOM,
    )


def _interval(value: Interval) -> dict[str, float | str]:
    return {"score": 100 * value.score, "low": 100 * value.low, "high": 100 * value.high, "n": value.size}


def _written(bar: Bar) -> str:
    return f"{'≈ ' if bar.is_estimate else ''}{percent(bar.score.score)}"


def _bars(shown: Rows, title: str, ticks: Sequence[int] | None, top: float, bottom: float = 0.0) -> Spec:
    """Return horizontal bars with their intervals, and their numbers behind these."""
    y = names("name", [str(row["name"]) for row in shown])
    axis = {"tickCount": 5} if ticks is None else {"values": list(ticks)}
    x = field("score", scale=scale(bottom, top), axis=axis)
    tooltip = tips(("name", "model"), ("text", "value"), ("low", "from"), ("high", "to"), ("n", "n"))
    bar = layer(
        "bar", {"x": x, "y": y, "color": literal_colour("fill"), "tooltip": tooltip}, height={"band": 0.62}
    )
    low = {**field("low"), "scale": scale(bottom, top)}
    line = layer("rule", {"x": low, "x2": {"field": "high"}, "y": y}, strokeWidth=1.5)
    text = layer("text", {"x": field("high"), "y": y, "text": {"field": "text"}}, align="left", dx=6)
    return layers(title, None, [bar, line, text], data=rows(shown))


def gene_chart(matrix: Matrix) -> Chart:
    """Draw the genes of one parameter: bars for one group of layers, else sources by groups."""
    shown = [_cell(matrix, source, group) for source, group in matrix.genes]
    is_map = len(matrix.groups) > 1
    step = 14 if len(matrix.groups) > MANY else 26
    return Chart(
        name=f"genes-{''.join(each if each.isalnum() else '-' for each in matrix.parameter)}",
        description=f"{matrix.parameter} of the bred model: "
        + "; ".join(f"{row['source']} {row['group']} {row['text']}" for row in shown)
        + ".",
        title=matrix.parameter,
        note=_about_genes(matrix),
        spec=_map(matrix, shown) if is_map else _columns(matrix, shown),
        height=step * len(matrix.groups) + 60 if is_map else 30 * len(matrix.sources) + 60,
        right=4 if is_map else ROOM,
    )


def _about_genes(matrix: Matrix) -> str:
    note = f"Searched between {matrix.low:g} and {matrix.high:g}.".replace("-", MINUS)
    if len(matrix.groups) > 1:
        note += " Rows are groups of layers; a number is a block."
    if matrix.size > len(matrix.cells):
        note += " Each is the mean of its tensors."
    if len(matrix.groups) > 1:
        means = ", ".join(f"{source} {mean}" for source, mean in matrix.means.items())
        note += f" Mean (lowest to highest): {means}."
    return note


def _cell(matrix: Matrix, source: str, group: str) -> dict[str, object]:
    genes, reach = matrix.genes[source, group], max(abs(matrix.low), abs(matrix.high)) or 1.0
    gene = fmean(genes)
    return {
        "source": source,
        "group": group.removeprefix("block."),
        "values": mean_text(genes),
        "gene": gene,
        "end": max(gene, 0.0),
        "text": f"{gene:.2f}".replace("-", MINUS),
        "fill": ACCENT if gene >= 0 else "var(--blue)",
        "strength": 0.75 * abs(gene) / reach,
    }


def _columns(matrix: Matrix, shown: Rows) -> Spec:
    low, high = min(0.0, matrix.low), max(0.0, matrix.high)
    y = names("source", matrix.sources)
    x = field("gene", scale=scale(low, high))
    bar = layer("bar", {"x": x, "y": y, "color": literal_colour("fill")}, height={"band": 0.55})
    text = layer("text", {"x": field("end"), "y": y, "text": {"field": "text"}}, align="left", dx=6)
    return layers(matrix.parameter, None, [bar, text], data=rows(shown))


def _map(matrix: Matrix, shown: Rows) -> Spec:
    is_wide = sum(len(source) for source in matrix.sources) > 32
    across = {"orient": "top", "labelAngle": -90 if is_wide else 0}
    x = names("source", matrix.sources, axis=across)
    order = [group.removeprefix("block.") for group in matrix.groups]
    y = names("group", order, axis={"labelOverlap": True})
    strength: Mapping[str, object] = {"field": "strength", "type": "quantitative", "scale": None}
    tooltip = tips(("source", "source"), ("group", "layers"), ("values", matrix.parameter))
    cells = {"x": x, "y": y, "fill": literal_colour("fill"), "fillOpacity": strength, "tooltip": tooltip}
    text = layer("text", {"x": x, "y": y, "text": {"field": "text"}}, fontSize=11)
    numbers = [text] if len(matrix.groups) <= MANY and len(matrix.sources) <= 8 else []
    return layers(None, None, [layer("rect", cells, stroke="var(--rule)"), *numbers], data=rows(shown))


def front_charts(data: RunData) -> list[Chart]:
    """Draw the front: one chart for each two objectives."""
    return [_front_chart(data, pair) for pair in combinations(range(len(data.summary.objectives)), 2)]


def _front_chart(data: RunData, pair: Pair) -> Chart:
    front, winner = data.summary.front, data.summary.winner
    across, up = (data.summary.objectives[place] for place in pair)
    scales = _scales(data, pair)
    bred = [p for p in front.points if winner is not None and p.trial.id == winner.trial.id]
    others = [point for point in front.points if point is not front.knee]
    knee = [point for point in front.points if point is front.knee]
    drawn = [
        _points(data, BEATEN, _point_rows(front.beaten, pair, scales), pair, size=24, opacity=0.45),
        _points(data, FRONT, _point_rows(others, pair, scales), pair, size=60),
        _points(data, KNEE, _point_rows(knee, pair, scales), pair, size=170, shape="diamond"),
        _ring(_point_rows(bred, pair, scales)),
        *_rivals(data, pair),
    ]
    return Chart(
        name=f"front-{pair[0]}-{pair[1]}",
        description=f"{_title(across)} and {_title(up)}: {counted(len(front.points), 'trial')} of the front "
        f"and {counted(len(front.beaten), 'beaten one')}; the table below holds the numbers.",
        spec=layers(*_axis_titles(data, pair), drawn),
        height=360,
        width=520,
    )


def _scales(data: RunData, pair: Pair) -> tuple[float, float]:
    """Return by what the values of two objectives are multiplied: 100 for shares, to show them in %."""
    across, up = (100.0 if is_share(data.summary.objectives[place]) else 1.0 for place in pair)
    return across, up


def _point_rows(points: Sequence[FrontPoint], pair: Pair, scales: tuple[float, float]) -> Rows:
    return [
        {
            "name": f"trial {p.trial.asked.number}",
            "x": scales[0] * p.objectives[pair[0]],
            "y": scales[1] * p.objectives[pair[1]],
        }
        for p in points
    ]


def _points(data: RunData, name: str, shown: Rows, pair: Pair, **look: object) -> Spec:
    titles = _axis_titles(data, pair)
    x, y = (field(key, scale={"zero": False}) for key in "xy")
    colour = {"datum": name, **legend_of(COLOURS)}
    tooltip = tips(("name", name), ("x", titles[0]), ("y", titles[1]))
    encoding = {"x": x, "y": y, "color": colour, "tooltip": tooltip}
    return layer("point", encoding, data=rows(shown), **{"filled": True, "opacity": 1, **look})


def _axis_titles(data: RunData, pair: Pair) -> tuple[str, str]:
    across, up = (data.summary.objectives[place] for place in pair)
    return _title(across), _title(up)


def _title(objective: str) -> str:
    if not is_share(objective):
        return objective
    return f"{objective}, score on fit in %" if has_item_scores(objective) else f"{objective} in %"


def _ring(shown: Rows) -> Spec:
    """Return a ring around the bred model, which validation picked and need not be the knee on fit."""
    encoding = {"x": field("x"), "y": field("y"), "tooltip": tips(("name", BRED))}
    return layer("point", encoding, data=rows(shown), color=ACCENT, size=420, strokeWidth=2, filled=False)


def _rivals(data: RunData, pair: Pair) -> Iterator[Spec]:
    """Yield parents and controls: points, or lines where only one of the two objectives is known of them."""
    scales = _scales(data, pair)
    values: list[tuple[str, dict[str, float]]] = []
    for name, each in data.rivals.items():
        own = [(key, by, each[place]) for key, by, place in zip("xy", scales, pair, strict=True)]
        values.append((name, {key: by * value for key, by, value in own if value is not None}))
    points = [{"name": name, **known} for name, known in values if len(known) == 2]
    yield _points(data, RIVAL, points, pair, size=60, shape="square")
    label = {"x": field("x"), "y": field("y"), "text": {"field": "name"}}
    yield layer("text", label, data=rows(points), fontSize=11, color="var(--blue)", dy=-10)
    best = data.summary.best_parent()
    for name, known in values:
        if len(known) == 1 and name in ("uniform", best.name if best else ""):
            yield from _line(name, known)


def _line(name: str, known: dict[str, float]) -> Iterator[Spec]:
    ((key, _),) = known.items()
    data = rows([{**known, "name": name}])
    look: Spec = {"color": "var(--blue)", "opacity": 0.8}
    yield layer("rule", {key: field(key)}, data=data, strokeDash=[3, 3], **look)
    end: Spec = {"y": {"value": 0}} if key == "x" else {"x": {"value": "width"}}
    place: Spec = {"align": "left", "dx": 3, "dy": 8} if key == "x" else {"align": "right", "dy": -6}
    encoding = {key: field(key), "text": {"field": "name"}, **end}
    yield layer("text", encoding, data=data, fontSize=11, **place, **look)
