"""The report of a run as files: its view as one HTML page that needs no network, and charts as PNGs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kingyo.core.io.extras import require_extra
from kingyo.core.io.files import write_together
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.store import RunStore
from kingyo.views.charts.draw import png, render
from kingyo.views.run_data import read_run_data
from kingyo.views.run_view import page_view
from kingyo.views.view import RunView

BEGINS = b"<!doctype html>"
IMAGES = ("bars", "progress", "genes-", "path")
"""Charts that are written as PNG beside the page: how their names begin."""


def write_report(store: RunStore, out: Path | None = None) -> Path:
    """Write the report of a run: finished, under way or interrupted."""
    target = out or store.folder / "report.html"

    def draw() -> dict[Path, bytes]:
        view = page_view(read_run_data(store))
        images = target.parent / "pictures"
        files = {images / name: content for name, content in draw_images(view).items()}
        return {**files, target: render_page(view)}

    write_page(target, draw)
    return target


def write_page(target: Path, draw: Callable[[], Mapping[Path, bytes]]) -> None:
    """Write a page and the files beside it."""
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


def render_page(view: RunView) -> bytes:
    (headline,) = view.said("headline")
    context: dict[str, object] = {
        "title": f"{view.run}: {headline.text}",
        "name": view.run,
        "view": view,
        "datasets": view.datasets,
        "counted": counted,
    }
    return render("views", "run", context)


def draw_images(view: RunView) -> dict[str, bytes]:
    """Draw the charts for slides and READMEs: file name -> PNG."""
    shown = {name: chart for name, chart in view.charts.items() if name.startswith(IMAGES)}
    return {f"{name}.png": png(chart, view.datasets) for name, chart in shown.items()}
