"""Item counts in reports of screened runs."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from kingyo.cli.tables import print_summary, print_trial
from kingyo.views.page import page_view, write_report
from kingyo.views.results.summary import summarize
from kingyo.views.results.trial_details import read_trial
from kingyo.views.run_data import read_run_data
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
        print_summary(summarize(store))
        page = " ".join(write_report(store, None).read_text("utf-8").split())
        shown = " ".join(capsys.readouterr().out.split())
        print_trial(read_trial(store, "1"))
    trial = " ".join(capsys.readouterr().out.split())
    assert f"({met})" in view.charts["progress"].note
    head, rows = view.tables["scores"].head, view.tables["scores"].rows
    assert head[1].detail == f"({compared})" and re.fullmatch(r"\(n = (10 to 20 of )?20\)", head[2].detail)
    assert f"fit ({compared})" in shown and "Predicted for test from " in shown
    assert [str(row[1]) for row in rows if str(row[1]) not in shown or row[1].detail not in page] == []
    row = view.tables["trials"].rows[1]
    assert row[1].text.startswith("≈ ") is (rule == "some")
    if rule == "some":
        assert f"fit: {row[2].text} [" in trial
        assert f"fit: {row[1].text}, which the search estimated for all 24 items" in trial
