"""The page of a run: its findings, charts and tables, filled into a template; and the charts as pictures."""

from __future__ import annotations

from kingyo.charts import Chart
from kingyo.charts.draw import png
from kingyo.charts.page import render
from kingyo.report import answer_cards, sentences, tables, wording
from kingyo.report.findings import Findings
from kingyo.report.front_charts import front_charts
from kingyo.report.path_charts import path_chart, usage_chart
from kingyo.report.score_charts import gene_chart, importance_chart, score_chart
from kingyo.report.trial_charts import family_chart, pair_chart, progress_chart, slice_charts, trial_rows
from kingyo.sizes import counted

Context = dict[str, object]
Charts = dict[str, Chart]


def render_page(found: Findings) -> bytes:
    """Return the whole HTML file."""
    context: Context = {
        "title": f"{found.summary.run}: {sentences.headline(found)}",
        "name": found.summary.run,
        "found": found,
        "datasets": {"trials": trial_rows(found)},
        "charts": charts(found),
        "say": sentences,
        "tables": tables,
        "wording": wording,
        "cards": answer_cards,
        "sizes": _sizes(found),
        "counted": counted,
    }
    return render("report", "report", context)


def draw_pictures(found: Findings) -> dict[str, bytes]:
    """Draw all charts but the small ones of single genes: file name -> PNG."""
    datasets = {"trials": trial_rows(found)}
    shown = {name: chart for name, chart in charts(found).items() if not name.startswith("slice-")}
    return {f"{name}.png": png(chart, datasets) for name, chart in shown.items()}


def charts(found: Findings) -> Charts:
    """Return all charts for which there are numbers, by name."""
    made = [*_of_scores(found), *_of_trials(found), *_of_paths(found)]
    made += front_charts(found) if found.summary.front.points else []
    return {chart.name: chart for chart in made}


def _of_scores(found: Findings) -> list[Chart]:
    bars = found.bars()
    made = [score_chart(bars, found.split, _sizes(found))] if bars else []
    made += [importance_chart(found.genes)] if any(gene.importance for gene in found.genes) else []
    return [*made, *(gene_chart(matrix, matrix.parameter) for matrix in found.matrices)]


def _of_trials(found: Findings) -> list[Chart]:
    main = found.main
    if main is None or not main.scored:
        return []
    made = [progress_chart(found, main), *(chart for _, chart in slice_charts(found))]
    made += [pair_chart(found)] if len(found.genes) > 1 else []
    return made if found.family is None else [*made, family_chart(found, found.family)]


def _of_paths(found: Findings) -> list[Chart]:
    routes = found.routes
    if routes is None:
        return []
    made = [] if routes.path is None else [path_chart(routes.path)]
    return [*made, usage_chart(routes, found.child_name)] if routes.groups else made


def _sizes(found: Findings) -> str:
    return wording.sizes([bar.score.n for bar in found.bars()], found.items[found.split])
