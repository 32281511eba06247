"""The report of a run: one HTML file that needs no network, and its charts as pictures.

``read_findings`` reads the store, ``*_charts`` and ``tables`` make charts and rows of what it returns, and
templates put them on a page. Nothing is evaluated and no model is loaded.
"""

from __future__ import annotations

from pathlib import Path

from kingyo.charts import require
from kingyo.errors import KingyoError
from kingyo.io.files import write_together
from kingyo.report.findings import read_findings
from kingyo.store import RunStore

__all__ = ["write_report"]

BEGINS = b"<!doctype html>"


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
    require("report")
    from kingyo.report.page import draw_pictures, render_page

    target = out or store.folder / "report.html"
    _require_free(target)
    findings = read_findings(store)
    files = {target.parent / "pictures" / name: content for name, content in draw_pictures(findings).items()}
    files[target] = render_page(findings)
    try:
        write_together(files)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def _require_free(target: Path) -> None:
    """Refuse a file that is no report: a wrong --out must not cost a run's database, or a run.yaml."""
    try:
        if not target.exists():
            return
        if target.is_file():
            with target.open("rb") as stream:
                if stream.read(len(BEGINS)) == BEGINS:
                    return
    except OSError as error:
        raise _unwritable(target, error) from error
    raise KingyoError(
        str(target),
        expected="a new file, or an earlier report",
        received="a folder" if target.is_dir() else "a file that is no report",
        remedy="Name another with --out.",
    )


def _unwritable(target: Path, error: OSError) -> KingyoError:
    return KingyoError(
        str(target),
        expected="a file that can be written",
        received=error.strerror or str(error),
        remedy="Name another with --out.",
    )
