"""The report as files: findings, charts and tables on one page, and PNGs of charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kingyo.charts import Chart
from kingyo.charts.draw import png, render
from kingyo.errors import KingyoError
from kingyo.io.extras import require_extra
from kingyo.io.files import write_together
from kingyo.io.units import counted
from kingyo.rating import tables as people
from kingyo.report import answers, sentences, tables, wording
from kingyo.report.findings import Findings, read_findings
from kingyo.report.path_charts import path_chart, usage_chart
from kingyo.report.score_charts import front_charts, gene_chart, importance_chart, score_chart
from kingyo.report.trial_charts import family_chart, pair_chart, progress_chart, slice_charts, trial_rows
from kingyo.results import remarks
from kingyo.store import RunStore

BEGINS = b"<!doctype html>"
PICTURES = ("bars", "progress", "genes-", "path")
"""Charts that are written as PNG beside the page: how their names begin."""


def write_report(store: RunStore, out: Path | None = None) -> Path:
    """Write the report of a run: finished, under way or interrupted.

    Args:
        store: the run; only read.
        out: the HTML file, new or an earlier one; ``report.html`` in the run's folder when None. ``pictures``
            lies beside it.

    Returns:
        The HTML file.

    Raises:
        KingyoError: the extra is missing, the file is something else, or cannot be written.
    """
    target = out or store.folder / "report.html"

    def draw() -> dict[Path, bytes]:
        findings = read_findings(store)
        pictures = target.parent / "pictures"
        files = {pictures / name: content for name, content in draw_pictures(findings).items()}
        return {**files, target: render_page(findings)}

    write_page(target, draw)
    return target


def write_page(target: Path, draw: Callable[[], Mapping[Path, bytes]]) -> None:
    """Write a page and the files beside it.

    Args:
        target: the HTML file, new or an earlier report.
        draw: returns the content of all files.

    Raises:
        KingyoError: the extra is missing, the file is something else, or cannot be written.
    """
    require_extra("report", "report")
    try:
        if not _is_free(target):
            raise KingyoError(
                str(target),
                expected="a new file, or an earlier report",
                received="a folder" if target.is_dir() else "a file that is no report",
                remedy="Name another with --out.",
            )
        write_together(draw())
    except OSError as error:
        raise KingyoError(
            str(target),
            expected="a file that can be written",
            received=error.strerror or str(error),
            remedy="Name another with --out.",
        ) from error


def _is_free(target: Path) -> bool:
    """Return whether a file is new or a report: a wrong --out must not cost a run's database."""
    if not target.exists():
        return True
    if not target.is_file():
        return False
    with target.open("rb") as stream:
        return stream.read(len(BEGINS)) == BEGINS


def render_page(findings: Findings) -> bytes:
    """Return the whole HTML file."""
    context: dict[str, object] = {
        "title": f"{findings.summary.run}: {sentences.headline(findings)}",
        "name": findings.summary.run,
        "findings": findings,
        "datasets": {"trials": trial_rows(findings)},
        "charts": charts(findings),
        "remarks": remarks,
        "say": sentences,
        "tables": tables,
        "wording": wording,
        "cards": answers,
        "people": people,
        "sizes": _sizes(findings),
        "counted": counted,
    }
    return render("report", "report", context)


def draw_pictures(findings: Findings) -> dict[str, bytes]:
    """Draw the charts for slides and READMEs: file name -> PNG."""
    datasets = {"trials": trial_rows(findings)}
    shown = {name: chart for name, chart in charts(findings).items() if name.startswith(PICTURES)}
    return {f"{name}.png": png(chart, datasets) for name, chart in shown.items()}


def charts(findings: Findings) -> dict[str, Chart]:
    """Return all charts for which there are numbers, by name."""
    made = [*_of_scores(findings), *_of_trials(findings), *_of_paths(findings)]
    made += front_charts(findings) if findings.summary.front.points else []
    return {chart.name: chart for chart in made}


def _of_scores(findings: Findings) -> list[Chart]:
    bars = findings.bars()
    made = [score_chart(bars, findings.split, _sizes(findings))] if bars else []
    made += [importance_chart(findings.genes)] if any(gene.importance for gene in findings.genes) else []
    return [*made, *map(gene_chart, findings.matrices)]


def _of_trials(findings: Findings) -> list[Chart]:
    main = findings.main
    if main is None or not main.scored:
        return []
    made = [progress_chart(findings, main), *slice_charts(findings)]
    made += [pair_chart(findings)] if len(findings.genes) > 1 else []
    return made if findings.family is None else [*made, family_chart(findings, findings.family)]


def _of_paths(findings: Findings) -> list[Chart]:
    routes = findings.routes
    if routes is None:
        return []
    made = [] if routes.path is None else [path_chart(routes.path)]
    return [*made, usage_chart(routes, findings.child_name)] if routes.groups else made


def _sizes(findings: Findings) -> str:
    return wording.sizes_of((bar.score for bar in findings.bars()), findings.summary.items[findings.split])
