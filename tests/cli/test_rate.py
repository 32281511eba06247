"""``kingyo rate``: results, training, bad input, and what ``show`` and ``report`` say about choices."""

import json
from pathlib import Path

import pytest

from kingyo.cli.rate import _has_browser
from kingyo.views.page import page_view
from tests.cli.merging import Command
from tests.rated_runs import drawn_run, rate, redder
from tests.tiny_judges import clip
from tests.views.reader import data_of_run


@pytest.fixture
def command(tmp_path: Path) -> Command:
    drawn_run(tmp_path / "run")
    return Command(tmp_path)


def test_show_and_report_have_choices_only_if_there_are_any(command: Command) -> None:
    assert "people" not in command("show", "run").out
    assert "people" not in json.loads(command("show", "run", "--json").out)
    rate(command.folder / "run", 30)
    assert "Choices of people on validation" in command("show", "run").out
    shown = json.loads(command("show", "run", "--json").out)
    assert shown["people"]["validation"]["n"] == 30
    pytest.importorskip("vl_convert")
    assert command("report", "run").code == 0
    page = (command.folder / "run" / "report.html").read_text("utf-8")
    assert "What people chose" in page and "preferred to a" in page and "30 choices of 1 person" in page


def test_training_prints_and_writes(command: Command) -> None:
    rate(command.folder / "run", 40, redder)
    clip(command.folder / "net")
    done = command("rate", "run", "--train", "it.safetensors", "--features", "net")
    assert done.code == 0, done.err
    assert "Held-out choices predicted" in done.out and "preference: {model: it.safetensors}" in done.out


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (("--split", "valid"), "--split"),
        (("--host", "192.0.2.1"), "--host and --port"),
        (("--host", "no such host"), "--host and --port"),
        (("--train", "x.safetensors"), "--train"),
    ],
)
def test_bad_input_is_one_clear_error(command: Command, arguments: tuple[str, ...], argument: str) -> None:
    done = command("rate", "run", *arguments)
    assert done.code == 1 and "Traceback" not in done.err
    assert done.err.removeprefix("Error: ").startswith(f"{argument}: expected ")


def test_test_pictures_wait_for_the_end_of_the_run(tmp_path: Path) -> None:
    drawn_run(tmp_path / "run", status="running")
    done = Command(tmp_path)("rate", "run", "--split", "test")
    assert done.code == 1 and done.err.startswith("Error: --split test: expected a finished run")


def test_choices_that_were_changed_are_refused_and_do_not_hide_the_run(command: Command) -> None:
    (command.folder / "run" / "ratings.db").write_bytes(b"something else" * 300)
    for words in (("rate", "run"), ("rate", "run", "--train", "x.safetensors")):
        done = command(*words)
        assert done.code == 1 and "ratings.db" in done.err and "Traceback" not in done.err
    for words in (("show", "run"), ("show", "run", "--json")):
        done = command(*words)
        assert done.code == 0 and done.err.startswith("Warning: ") and "ratings.db" in done.err
    view = page_view(data_of_run(command.folder / "run"))
    (said,) = view.said("people")
    assert said.is_warning and "ratings.db" in said.text
    assert [section.is_open for section in view.sections if "people" in section.blocks] == [True]


def test_no_browser_of_a_terminal_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert not _has_browser()
