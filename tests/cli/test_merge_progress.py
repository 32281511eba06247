"""Progress of a merge."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest

from kingyo.cli.progress import MergeProgress

MB = 1_000_000


def test_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with MergeProgress("out") as progress:
        progress.start(100 * MB)
        progress.wrote(24 * MB)
        monkeypatch.setattr("kingyo.cli.progress.SECONDS_PER_LINE", 0)
        progress.wrote(MB)
    assert re.fullmatch(r"out: 25\.0 MB of 100 MB \(25%\), .+ left\n", capsys.readouterr().err)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with MergeProgress("統合モデル") as progress:
        progress.start(100 * MB)
        progress.wrote(25 * MB)
    assert "統合モデル" in terminal.getvalue() and "25.0/100.0 MB" in terminal.getvalue()


def test_a_fast_merge_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with MergeProgress("out") as progress:
        progress.start(10)
        progress.wrote(10)
    assert capsys.readouterr().err == ""


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with MergeProgress("out", quiet=True) as progress:
        progress.start(60 * MB)
        progress.wrote(MB)
    assert capsys.readouterr().err == ""


def test_threads_count_together() -> None:
    with MergeProgress("out", quiet=True) as progress:
        progress.start(8 * 5000)
        workers = [
            threading.Thread(target=lambda: [progress.wrote(1) for _ in range(5000)]) for _ in range(8)
        ]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
    assert "(100%)" in progress.line()
