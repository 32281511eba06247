"""The report of a run: one HTML file that needs no network, and pictures of its main charts.

It reads the store and writes beside it; it evaluates nothing and loads no model.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kingyo.atomic import write_together
from kingyo.errors import KingyoError
from kingyo.report.findings import gather
from kingyo.report.page import render_page
from kingyo.store import RunStore

__all__ = ["require", "write_report"]

NEEDED = ("plotly", "matplotlib")
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
        KingyoError: plotly or matplotlib is missing, the file is something else, or cannot be written.
    """
    require(NEEDED)
    from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]

    from kingyo.report.pictures import draw_pictures

    target = out or store.folder / "report.html"
    _require_free(target)
    found = gather(store)
    page = render_page(found, str(get_plotlyjs()))
    pictures = draw_pictures(found)
    files = {target.parent / "pictures" / name: content for name, content in pictures.items()}
    files[target] = page.encode(errors="backslashreplace")  # a path may be no UTF-8
    try:
        write_together(files)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def _require_free(target: Path) -> None:
    """A slip of the pen must not cost a run's database, or a run.yaml."""
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


def require(packages: tuple[str, ...]) -> None:
    """Check that the packages of the extra are there.

    Raises:
        KingyoError: one is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise KingyoError(
            "report",
            expected="plotly and matplotlib to be installed",
            received=f"no {' and no '.join(missing)}",
            remedy="In a clone of kingyo: pip install -e '.[report]'",
        )
