"""Progress of a merge without a terminal."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from kingyo.cli.progress import SECONDS_PER_LINE, MergeProgress

MB = 1_000_000


def test_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert SECONDS_PER_LINE <= 10
    with MergeProgress("out", seconds=0.05) as progress:
        progress.start([60 * MB, 40 * MB], 0)
        progress.wrote(25 * MB)
        deadline = time.monotonic() + 10
        output = ""
        while "left" not in output and time.monotonic() < deadline:
            time.sleep(0.02)
            output += capsys.readouterr().err
    assert re.search(r"^out: 25\.0 MB of 100 MB \(25 %\), .+ left$", output, re.MULTILINE), output
    assert not [each for each in threading.enumerate() if each.name == "kingyo-progress"]
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_fast_merge_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with MergeProgress("out") as progress:
        progress.start([10], 0)
        progress.wrote(10)
        progress.finish(0)
    assert capsys.readouterr().err == ""
    assert progress.finished == 1


def test_continuing_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with MergeProgress("out") as progress:
        progress.start([60 * MB, 40 * MB], 60 * MB)
        progress.finish(0)
        assert progress.line() == "out: 60.0 MB of 100 MB (60 %)", "what was there before tells no speed"
        progress.wrote(20 * MB)
        assert progress.line().startswith("out: 80.0 MB of 100 MB (80 %), ")
    assert capsys.readouterr().err == "Continuing from file 2 of 2: 60.0 MB of 100 MB were written before.\n"


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with MergeProgress("out", quiet=True, seconds=0.01) as progress:
        progress.start([60 * MB], 30 * MB)
        progress.wrote(MB)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_threads_count_together() -> None:
    with MergeProgress("out", quiet=True) as progress:
        progress.start([8 * 5000], 0)
        workers = [
            threading.Thread(target=lambda: [progress.wrote(1) for _ in range(5000)]) for _ in range(8)
        ]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
    assert "(100 %)" in progress.line()


@pytest.mark.parametrize("label", ["out", "a-rather-long-name-of-a-merged-model-v0.3", "統合モデル" * 8])
@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_the_bar_of_a_terminal_is_one_line_that_does_not_move(width: int, label: str) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    places: set[int] = set()
    with MergeProgress(label, quiet=True) as progress:
        progress.start([600 * MB, 400 * MB], 0)
        for _ in range(11):
            with console.capture() as captured:
                console.print(progress.bar(console.width))
            (line,) = re.sub(r"\x1b\[[0-9;]*m", "", captured.get()).splitlines()
            assert cell_len(line) <= width
            output = progress.line().removeprefix(f"{label}: ")
            assert output in line or width < 40
            assert "…" in line or width < 60 or label in line
            places.add(min((line.find(each) for each in "━╸╺" if each in line), default=0))
            progress.wrote(90 * MB)
    assert len(places) == 1
