"""Item counts in reports of screened runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from kingyo.cli.tables import print_summary, print_trial
from kingyo.search.evolution import MAIN
from kingyo.views.page import page_view, summary_view, write_report
from kingyo.views.results.summary import summarize
from kingyo.views.results.trial_details import read_trial
from kingyo.views.run_data import read_run_data
from kingyo.views.statements import estimated_on_fit
from tests.screened_runs import Model, begun, journey

SIZES: Mapping[str, tuple[str, str]] = {
    "none": ("n = 24", "n = 24"),
    "some": ("n = 8 of 24", "n = 8 to 24 of 24"),
}
"""Rule -> of all trials; of the models that are compared."""


@pytest.mark.parametrize("rule", list(SIZES))
def test_show_and_the_report_have_the_same_scores_on_fit(
    tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    met, compared = SIZES[rule]
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", rule).run()
        view = page_view(read_run_data(store))
        summary = summarize(store)
        print_summary(summary)
        page = " ".join(write_report(store, None).read_text("utf-8").split())
    shown = " ".join(capsys.readouterr().out.split())
    assert f"({met})" in view.charts["progress"].note
    head, rows = view.tables["all scores"].head, view.tables["all scores"].rows
    assert head[1].detail == f"({compared})" and re.fullmatch(r"\(n = (10 to 20 of )?20\)", head[2].detail)
    assert f"fit ({compared})" in shown and "Predicted for test from " in shown
    assert [str(row[1]) for row in rows if str(row[1]) not in shown or row[1].detail not in page] == []
    assert any("≈" in row[1].text for row in rows) == (rule == "some") == ("≈" in shown)
    label = estimated_on_fit(summary)
    assert (label is None) == (rule != "some")
    if label is not None:
        assert label.startswith("≈ estimated for all 24 items of fit; measured: bred ")
        assert label in shown and label in page


def test_a_trial_has_the_same_scores_in_show_and_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", "some").run()
        row = page_view(read_run_data(store)).tables["trials"].rows[1]
        print_trial(read_trial(store, "1"))
    shown = " ".join(capsys.readouterr().out.split())
    assert f"fit: {row[2].text} [" in shown and "], measured on 8 items" in shown
    assert "], estimated for all 24 items from all trials" in shown


def test_the_winners_estimate_is_shown_next_to_test(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", "some").run()
        winner = store.winner(MAIN)
        assert winner is not None
        estimated = store.outcomes(MAIN)[winner.id].value
        summary = summarize(store)
    claim = " ".join(map(str, summary_view(summary).said("selection")))
    assert estimated is not None and summary.winner_score == estimated
    assert summary.winner is not None and summary.winner.test is not None
    gap = 100 * (estimated - summary.winner.test.score)
    side = "below" if gap < 0 else "above"
    assert f"estimated {100 * estimated:.1f}% for all of them, {abs(gap):.1f} points {side} test." in claim
