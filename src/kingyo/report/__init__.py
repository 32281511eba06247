"""The report of a run: one HTML file that needs no network, and pictures of its main charts.

It reads the store and writes beside it; it evaluates nothing and loads no model.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kingyo.atomic import write_bytes
from kingyo.errors import KingyoError
from kingyo.report.findings import gather
from kingyo.report.page import render_page
from kingyo.store import RunStore

__all__ = ["require", "write_report"]

NEEDED = ("plotly", "matplotlib")


def write_report(store: RunStore, out: Path | None = None) -> Path:
    """Write the report of a run: finished, under way or interrupted.

    Args:
        store: the run; only read.
        out: the HTML file; ``report.html`` in the run's folder when None. ``pictures`` lies beside it.

    Returns:
        The HTML file.

    Raises:
        KingyoError: plotly or matplotlib is missing, or the files cannot be written.
    """
    require(NEEDED)
    from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]

    from kingyo.report.pictures import draw_pictures

    target = out or store.folder / "report.html"
    found = gather(store)
    page = render_page(found, str(get_plotlyjs()))
    pictures = draw_pictures(found)
    try:
        folder = target.parent / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures.items():
            write_bytes(folder / name, content)
        write_bytes(target, page.encode())
    except OSError as error:
        raise KingyoError(
            str(target),
            expected="a file that can be written",
            received=error.strerror or str(error),
            remedy="Name another with --out.",
        ) from error
    return target


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
            remedy="In a clone of kingyo: pip install '.[report]'",
        )
