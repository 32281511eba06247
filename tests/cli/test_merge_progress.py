"""Lines and bars of what is counted, as for a merge."""

import io
import re
import sys

import pytest

from kingyo.cli.progress import Counts


def test_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kingyo.cli.progress.SILENT_FOR", 0)
    with Counts() as progress:
        progress.count("out", 20, 100)
        progress.count("out", 24, 100)
        monkeypatch.setattr("kingyo.cli.progress.SECONDS_PER_LINE", 0)
        progress.count("out", 25, 100)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"out: 25%, .+ left", line)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("kingyo.cli.progress.SILENT_FOR", 0)
    with Counts() as progress:
        progress.count("統合モデル", 0, 100)
        progress.count("統合モデル", 25, 100)
    assert "統合モデル" in terminal.getvalue() and "25%" in terminal.getvalue()


@pytest.mark.parametrize("quiet", [True, False])
def test_what_is_fast_or_quiet_prints_nothing(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with Counts(quiet=quiet) as progress:
        progress.count("out", 0, 10)
        progress.count("out", 10, 10)
        if quiet:
            progress.say("a sentence")
    assert capsys.readouterr().err == ""
