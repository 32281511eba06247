"""Item counts in reports of screened runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from kingyo.cli.tables import print_summary
from kingyo.evolution import MAIN
from kingyo.report.findings import read_findings
from kingyo.report.sentences import search_note, selection_sentences
from kingyo.report.tables import scores_table
from kingyo.results.summarize import summarize
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
    assert "validation minus test " in shown


def test_the_winners_estimate_is_shown_next_to_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), "ga", "some").run()
        winner = store.winner(MAIN)
        assert winner is not None
        estimated = next(each.value for each in store.outcomes(MAIN) if each.trial == winner.id)
        summary = summarize(store)
        claim = " ".join(selection_sentences(read_findings(store)))
        print_summary(summary)
    assert estimated is not None and summary.winner_score == estimated
    assert summary.winner is not None and summary.winner.test is not None
    gap = 100 * (estimated - summary.winner.test.score)
    side = "below" if gap < 0 else "above"
    message = f"estimated {100 * estimated:.1f}% for all of them, {abs(gap):.1f} points {side} test."
    assert message in " ".join(capsys.readouterr().out.split())
    assert message in claim
