"""Charts of scores and genes: all models side by side, importance of genes, the genes of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.charts import Chart, Rows, Spec
from kingyo.charts.marks import ACCENT, GREY, field, layer, layers, literal_colour, names, rows, scale, tips
from kingyo.report import wording
from kingyo.report.composition import Gene, Matrix
from kingyo.report.findings import Bar
from kingyo.stats import Interval

FILLS = {"bred": ACCENT, "parent": GREY, "mixture": GREY, "control": "var(--grey-light)"}
ROOM = 56  # pixels for the number behind the longest bar
MAX_GENES = 12  # of the chart of importance
MANY = 24  # rows, beyond which they are lower


def score_chart(bars: Sequence[Bar], split: str, sizes: str) -> Chart:
    """Draw the scores of all models with their intervals, one bar each; ``sizes`` says on how many items."""
    shown = [
        {"name": bar.name, "fill": FILLS[bar.role], **_interval(bar.score), "text": _written(bar)}
        for bar in bars
    ]
    description = "; ".join(f"{bar.name} {wording.score(bar.score)}" for bar in bars)
    return Chart(
        name="bars",
        description=f"Scores on {split}, with 95% intervals: {description}.",
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
    description = "; ".join(f"{gene.name} {wording.percent(share.score)}" for gene, share in known)
    top = 100 * max(share.high for _, share in known)
    return Chart(
        name="importance",
        description=f"Importance of genes, with 95% intervals: {description}.",
        spec=_bars(shown, "importance in %", None, top),
        height=28 * len(shown) + 60,
        right=ROOM,
    )


def _interval(value: Interval) -> dict[str, float | int]:
    return {"score": 100 * value.score, "low": 100 * value.low, "high": 100 * value.high, "n": value.n}


def _written(bar: Bar) -> str:
    return f"{'≈ ' if bar.is_estimate else ''}{wording.percent(bar.score.score)}"


def _bars(shown: Rows, title: str, ticks: Sequence[int] | None, top: float) -> Spec:
    """Return horizontal bars with their intervals, and their numbers behind these."""
    y = names("name", [str(row["name"]) for row in shown], axis={"labelLimit": 130})
    axis = {"tickCount": 5} if ticks is None else {"values": list(ticks)}
    x = field("score", scale=scale(0, top), axis=axis)
    tooltip = tips(("name", "model"), ("text", "score"), ("low", "from"), ("high", "to"), ("n", "n"))
    bar = layer(
        "bar", {"x": x, "y": y, "color": literal_colour("fill"), "tooltip": tooltip}, height={"band": 0.62}
    )
    low = {**field("low"), "scale": scale(0, top)}
    line = layer("rule", {"x": low, "x2": {"field": "high"}, "y": y}, strokeWidth=1.5)
    text = layer("text", {"x": field("high"), "y": y, "text": {"field": "text"}}, align="left", dx=6)
    return layers(title, None, [bar, line, text], data=rows(shown))


def gene_chart(matrix: Matrix, name: str) -> Chart:
    """Draw the genes of one parameter: bars for one group of layers, else sources by groups."""
    shown = [_cell(matrix, source, group) for source, group in matrix.cells]
    is_map = len(matrix.groups) > 1
    step = 14 if len(matrix.groups) > MANY else 26
    return Chart(
        name=f"genes-{''.join(each if each.isalnum() else '-' for each in name)}",
        description=f"{matrix.parameter} of the bred model: "
        + "; ".join(f"{row['source']} {row['group']} {row['text']}" for row in shown)
        + ".",
        spec=_map(matrix, shown) if is_map else _columns(matrix, shown),
        height=step * len(matrix.groups) + 60 if is_map else 30 * len(matrix.sources) + 60,
        right=4 if is_map else ROOM,
    )


def _cell(matrix: Matrix, source: str, group: str) -> dict[str, object]:
    gene, reach = matrix.cells[source, group], max(abs(matrix.low), abs(matrix.high)) or 1.0
    return {
        "source": source,
        "group": group.removeprefix("block."),
        "gene": gene,
        "end": max(gene, 0.0),
        "text": f"{gene:.2f}".replace("-", wording.MINUS),
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
    tooltip = tips(("source", "source"), ("group", "layers"), ("text", matrix.parameter))
    cells = {"x": x, "y": y, "fill": literal_colour("fill"), "fillOpacity": strength, "tooltip": tooltip}
    text = layer("text", {"x": x, "y": y, "text": {"field": "text"}}, fontSize=11)
    numbers = [text] if len(matrix.groups) <= MANY and len(matrix.sources) <= 8 else []
    return layers(None, None, [layer("rect", cells, stroke="var(--rule)"), *numbers], data=rows(shown))
