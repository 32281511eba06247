"""Item counts in reports of screened runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from kingyo.report.findings import read_findings
from kingyo.report.sentences import search_note, selection_sentences
from kingyo.report.tables import scores_table, trials_table
from kingyo.report.wording import NO_BREAK

from kingyo.cli.tables import print_summary
from kingyo.cli.trials import print_trial, read_trial
from kingyo.evolution import MAIN
from kingyo.results.summarize import summarize
from kingyo.views.page import write_report
from kingyo.views.statements import estimated_on_fit
from tests.screened_runs import Model, begun, journey

SIZES: Mapping[str, tuple[str, str]] = {
    "none": ("n = 24", "n=24"),
    "some": ("n = 8 of 24", "n=8–24"),
    "racing": ("n = 8 to 24 of 24", "n=24"),
}
"""Rule -> of all trials, in the report; of the models that are compared, on screen."""


@pytest.mark.parametrize("rule", list(SIZES))
def test_n_counts_scored_items(tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    met, printed = SIZES[rule]
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", rule).run()
        findings = read_findings(store)
        print_summary(summarize(store))
    assert f"({met})" in search_note(findings)
    head, _ = scores_table(findings)
    assert re.fullmatch(r"n = (10 to 20 of )?20", head[2][1])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"fit ({printed})" in shown
    assert "Predicted for test from " in shown


@pytest.mark.parametrize("rule", list(SIZES))
def test_show_and_the_report_have_the_same_scores_on_fit(
    tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", rule).run()
        findings = read_findings(store)
        print_summary(findings.summary)
        page = " ".join(write_report(store, None).read_text("utf-8").split())
    shown = " ".join(capsys.readouterr().out.split())
    _, rows = scores_table(findings)
    cells = [" ".join(row[1]).replace("%", "").replace(NO_BREAK, " ") for row in rows]
    assert [cell for cell in cells if cell not in shown] == []
    estimates = [name for name in findings.models if findings.estimates.get(name) is not None]
    assert bool(estimates) == (rule == "some") == ("≈" in shown)
    label = estimated_on_fit(findings.summary)
    assert (label is None) == (not estimates)
    if label is not None:
        assert label.startswith("≈ estimated for all 24 items of fit; measured: bred ")
        assert label in shown and label in page


def test_a_trial_has_the_same_scores_in_show_and_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", "some").run()
        row = trials_table(read_findings(store))[1]
        print_trial(read_trial(store, "1"))
    shown = " ".join(capsys.readouterr().out.split())
    assert f"fit: {row['raw_text']} [" in shown and "], measured on 8 items" in shown
    told = str(row["text"]).removeprefix("≈ ")
    assert "], estimated for all 24 items from all trials" in shown
    assert f"In the search it counted as {told}: fewer trials had shown" in shown


def test_the_winners_estimate_is_shown_next_to_test(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", "some").run()
        winner = store.winner(MAIN)
        assert winner is not None
        estimated = next(each.value for each in store.outcomes(MAIN) if each.trial == winner.id)
        summary = summarize(store)
        claim = " ".join(selection_sentences(read_findings(store)))
    assert estimated is not None and summary.winner_score == estimated
    assert summary.winner is not None and summary.winner.test is not None
    gap = 100 * (estimated - summary.winner.test.score)
    side = "below" if gap < 0 else "above"
    message = f"estimated {100 * estimated:.1f}% for all of them, {abs(gap):.1f} points {side} test."
    assert message in claim
