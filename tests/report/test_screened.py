"""What is said of n where candidates were scored on some of the items."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kingyo.cli.tables import print_summary
from kingyo.evolve import MAIN
from kingyo.report.findings import gather
from kingyo.report.history import read_histories
from kingyo.report.sections import render_progress, render_selection
from kingyo.summary import summarize
from tests.screened_runs import Model, begun, journey

HEADS: Mapping[str, tuple[str, str]] = {
    "none": ("n = 24", "fit, n = 24"),
    "some": ("8 of 24 items", "fit, n = 8"),
    "racing": ("8 to 24 of 24 items", "fit, n = 24"),
}


@pytest.mark.parametrize("rule", list(HEADS))
def test_n_is_what_was_scored(tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    met, head = HEADS[rule]
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", rule).run()
        assert read_histories(store)[MAIN].met(24) == met
        found = gather(store)
        print_summary(summarize(store))
    shown, table = str(render_progress(found)), str(render_selection(found))
    assert f"({met})" in shown and ("estimates for all of fit" in shown) == (rule != "none")
    assert f">{head}<" in table and "validation, n = 20<" in table
    printed = head.removeprefix("fit, n = ").replace(" to ", "–")
    assert f"fit (n={printed})" in capsys.readouterr().out
