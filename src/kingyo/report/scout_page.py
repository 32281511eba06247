"""The report of a scout as one HTML file."""

from __future__ import annotations

from pathlib import Path

from kingyo.charts.draw import render
from kingyo.io.units import counted
from kingyo.report import scout_sentences, scout_tables
from kingyo.report.scout_charts import curve_chart, items_chart
from kingyo.report.scout_findings import ScoutFindings
from kingyo.report.scout_map import map_chart
from kingyo.scout.catalogue import Catalogue, Group
from kingyo.scout.choice import ChosenSources
from kingyo.views.page import write_page


def write_scout_report(found: Catalogue, group: Group, choice: ChosenSources, out: Path) -> Path:
    """Write ``report.html`` into a scout's folder.

    Args:
        found: all candidates.
        group: the candidates that were tried, in the order of the choice's sources.
        choice: the chosen sources, or those so far.
        out: the folder.

    Returns:
        The HTML file.

    Raises:
        KingyoError: the extra is missing, the file is something else, or cannot be written.
    """
    target = out / "report.html"
    findings = ScoutFindings(found=found, group=group, choice=choice)
    write_page(target, lambda: {target: render_scout(findings, out.resolve().name)})
    return target


def render_scout(findings: ScoutFindings, name: str) -> bytes:
    """Return the whole HTML file; ``name`` is that of the folder."""
    charts = (curve_chart(findings), items_chart(findings), map_chart(findings))
    context: dict[str, object] = {
        "title": f"{name}: {scout_sentences.headline(findings)}",
        "name": name,
        "findings": findings,
        "datasets": {},
        "charts": {chart.name: chart for chart in charts if chart is not None},
        "say": scout_sentences,
        "tables": scout_tables,
        "counted": counted,
    }
    return render("report", "scout", context)
