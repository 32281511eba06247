"""The page of a run: its findings, charts and tables, filled into a template; and the charts as pictures."""

from __future__ import annotations

from kingyo.charts import Chart
from kingyo.charts.draw import png
from kingyo.charts.page import render
from kingyo.io.units import counted
from kingyo.report import answer_cards, sentences, tables, wording
from kingyo.report.findings import Findings
from kingyo.report.front_charts import front_charts
from kingyo.report.path_charts import path_chart, usage_chart
from kingyo.report.score_charts import gene_chart, importance_chart, score_chart
from kingyo.report.trial_charts import family_chart, pair_chart, progress_chart, slice_charts, trial_rows
from kingyo.results import remarks

Context = dict[str, object]
Charts = dict[str, Chart]
PICTURES = ("bars", "progress", "genes-", "path")
"""Charts that are written as PNG beside the page: how their names begin."""


def render_page(findings: Findings) -> bytes:
    """Return the whole HTML file."""
    context: Context = {
        "title": f"{findings.summary.run}: {sentences.headline(findings)}",
        "name": findings.summary.run,
        "findings": findings,
        "datasets": {"trials": trial_rows(findings)},
        "charts": charts(findings),
        "remarks": remarks,
        "say": sentences,
        "tables": tables,
        "wording": wording,
        "cards": answer_cards,
        "sizes": _sizes(findings),
        "counted": counted,
    }
    return render("report", "report", context)


def draw_pictures(findings: Findings) -> dict[str, bytes]:
    """Draw the charts for slides and READMEs: file name -> PNG."""
    datasets = {"trials": trial_rows(findings)}
    shown = {name: chart for name, chart in charts(findings).items() if name.startswith(PICTURES)}
    return {f"{name}.png": png(chart, datasets) for name, chart in shown.items()}


def charts(findings: Findings) -> Charts:
    """Return all charts for which there are numbers, by name."""
    made = [*_of_scores(findings), *_of_trials(findings), *_of_paths(findings)]
    made += front_charts(findings) if findings.summary.front.points else []
    return {chart.name: chart for chart in made}


def _of_scores(findings: Findings) -> list[Chart]:
    bars = findings.bars()
    made = [score_chart(bars, findings.split, _sizes(findings))] if bars else []
    made += [importance_chart(findings.genes)] if any(gene.importance for gene in findings.genes) else []
    return [*made, *(gene_chart(matrix, matrix.parameter) for matrix in findings.matrices)]


def _of_trials(findings: Findings) -> list[Chart]:
    main = findings.main
    if main is None or not main.scored:
        return []
    made = [progress_chart(findings, main), *(chart for _, chart in slice_charts(findings))]
    made += [pair_chart(findings)] if len(findings.genes) > 1 else []
    return made if findings.family is None else [*made, family_chart(findings, findings.family)]


def _of_paths(findings: Findings) -> list[Chart]:
    routes = findings.routes
    if routes is None:
        return []
    made = [] if routes.path is None else [path_chart(routes.path)]
    return [*made, usage_chart(routes, findings.child_name)] if routes.groups else made


def _sizes(findings: Findings) -> str:
    return wording.sizes([bar.score.n for bar in findings.bars()], findings.items[findings.split])
