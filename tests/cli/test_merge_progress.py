"""Lines and bars of what is counted, as for a merge."""

from __future__ import annotations

import io
import re
import sys

import pytest

from kingyo.cli.progress import Counts

MB = 1_000_000


def test_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Counts() as progress:
        progress.count("out", 20 * MB, 100 * MB, "bytes")
        progress.count("out", 24 * MB, 100 * MB, "bytes")
        monkeypatch.setattr("kingyo.cli.progress.SECONDS_PER_LINE", 0)
        progress.count("out", 25 * MB, 100 * MB, "bytes")
        progress.count("scoring", 0, 20)
        progress.count("scoring", 5, 20)
    bytes_, items = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"out: 25\.0 MB of 100 MB \(25%\), .+ left", bytes_)
    assert re.fullmatch(r"scoring: 5 of 20 items \(25%\), .+ left", items)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("kingyo.cli.progress.SILENT_FOR", 0)
    with Counts() as progress:
        progress.count("統合モデル", 0, 100 * MB, "bytes")
        progress.count("統合モデル", 25 * MB, 100 * MB, "bytes")
    assert "統合モデル" in terminal.getvalue() and "25.0/100.0 MB" in terminal.getvalue()


@pytest.mark.parametrize("quiet", [True, False])
def test_what_is_fast_or_quiet_prints_nothing(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with Counts(quiet=quiet) as progress:
        progress.count("out", 0, 10, "bytes")
        progress.count("out", 10, 10, "bytes")
        if quiet:
            progress.say("a sentence")
    assert capsys.readouterr().err == ""
