"""The lines that commands print in a log while they read, measure and score."""

from __future__ import annotations

import pytest

from kingyo.cli import scout_progress
from kingyo.cli.scout_progress import advancing, scoring
from kingyo.types import Answered


def test_in_a_log_measuring_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with advancing() as advance:
        advance("measuring", 1, 4)
        monkeypatch.setattr(scout_progress, "_PER_LINE", 0.0)
        advance("measuring", 2, 4)
    assert capsys.readouterr().err == "measuring: 50%\n"


def test_in_a_log_scoring_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scout_progress, "_PER_LINE", 0.0)
    with scoring() as progress:
        progress(Answered(3, 0, 12))
    assert capsys.readouterr().err == "scoring: 25%\n"
