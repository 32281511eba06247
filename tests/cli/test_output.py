"""What reaches a terminal steers it nowhere, and standard output of ``--json`` is JSON alone."""

import json
import os
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.text import Text

from kingyo import cli
from kingyo.cli import app
from kingyo.cli.console import Console, print_text
from kingyo.cli.output import echo, json_text, only_json, print_json, visible
from kingyo.errors import Interrupted
from tests.cli.conftest import World
from tests.cli.conftest import command as command_of
from tests.cli.merging import Command

CLEAR, CLIPBOARD, TURNED = "\x1b[2J", "\x1b]52;c;cm0gLXJm\x07", "\u202e"
ATTACK = f"{CLEAR}{CLIPBOARD}\x9b2J\r{TURNED}\x7f\udc80"
SHOWN = r"\x1b[2J\x1b]52;c;cm0gLXJm\x07\x9b2J\r\u202e\x7f\udc80"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def commands() -> dict[str, typer.models.CommandInfo]:
    """All of the command line."""
    return {
        each.name or str(each.callback.__name__): each
        for each in app.registered_commands
        if each.callback is not None
    }


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `kingyo list` raise an error."""

    def fail(*, as_json: bool = False) -> None:
        raise error

    monkeypatch.setattr("kingyo.cli.listing.show_list", fail)
    monkeypatch.setattr(cli, "_app", cli._app.__wrapped__)  # it would keep the failing command


WITH_JSON = [
    name
    for name, each in commands().items()
    if "as_json" in (each.callback.__annotations__ if each.callback else ())
]
WRONG = {
    "evolve": ["none.yaml"],
    "resume": ["none"],
    "control": ["none", "random"],
    "tune": ["none"],
    "show": ["none"],
    "merge": ["none.yaml", "out"],
    "diff": ["none", "nowhere"],
    "layers": ["none.yaml"],
    "evaluate": ["none", "none.yaml"],
    "scout": ["./none"],
    "draw": ["none", "a cat"],
    "list": ["methods", "nothing"],
}
"""Arguments of each command that are wrong in themselves."""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


class TestText:
    def test_escape_sequences_are_written_out(self) -> None:
        assert visible(f"a{ATTACK}b") == f"a{SHOWN}b"

    def test_ordinary_text_of_any_language_stays(self) -> None:
        text = "金魚\t1 ≥ 0\nzwölf\u00a0Fische 👨\u200d👩 \\x1b"
        assert visible(text) == text

    def test_a_line_of_a_message_forges_no_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        echo("Error: no\nWrote out: all is well", err=True)
        assert capsys.readouterr().err == "Error: no\n  Wrote out: all is well\n"


class TestConsole:
    def test_content_is_escaped_and_styles_are_kept(self) -> None:
        console = Console(
            file=StringIO(), force_terminal=True, width=200, color_system="standard", highlight=False
        )
        with console.capture() as captured:
            print_text(console, f"[bold]{ATTACK}[/bold]")
            console.print(Text(f"{CLEAR}{TURNED}", style="red"))
        assert captured.get() == f"\x1b[1m{SHOWN}\x1b[0m\n\x1b[31m\\x1b[2J\\u202e\x1b[0m\n"

    def test_no_command_prints_past_the_two_doors(self) -> None:
        """``output.echo`` and ``console.Console``; rich's own class serves as a type alone."""
        past = re.compile(
            r"typer\.echo|(?<![\w.])print\(|\.std(?:out|err)\.write|from rich.console import Console(?!, )"
        )
        for path in Path(cli.__file__).parent.glob("*.py"):
            if path.name not in ("output.py", "console.py"):
                assert past.findall(path.read_text(encoding="utf-8")) == [], path.name


class TestJson:
    def test_json_steers_no_terminal_and_reads_back(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_json({"answer": ATTACK, "name": "金魚", "rare": "\U000e0001"})
        text = capsys.readouterr().out
        assert not STEERING.search(text) and "金魚" in text
        assert json.loads(text) == {"answer": ATTACK, "name": "金魚", "rare": "\U000e0001"}

    def test_numbers_that_are_none_are_null(self) -> None:
        assert json.loads(json_text({"a": [float("nan"), 1.5], "b": float("-inf")})) == {
            "a": [None, 1.5],
            "b": None,
        }

    def test_the_last_document_is_the_only_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        with only_json():
            print_json({"scores": 1})
            print_json({"error": "the picture could not be written"})
        assert json.loads(capsys.readouterr().out) == {"error": "the picture could not be written"}

    def test_output_of_subprocesses_goes_to_standard_error(self, capfd: pytest.CaptureFixture[str]) -> None:
        with only_json():
            print("print")  # noqa: T201
            os.write(1, b"os.write\n")
            subprocess.run(["echo", "subprocess"], check=True)
            print_json({})
        print("behind")  # noqa: T201
        captured = capfd.readouterr()
        assert captured.out == "{}\nbehind\n"
        assert sorted(captured.err.split()) == ["os.write", "print", "subprocess"]


class TestErrors:
    def test_every_command_with_json_is_tried(self) -> None:
        assert sorted(WRONG) == sorted(WITH_JSON)

    @pytest.mark.parametrize("name", WITH_JSON)
    def test_a_mistake_is_json_alone(self, name: str, command: Command) -> None:
        done = command(name, *WRONG[name], "--json")
        assert done.code == 1 and done.err == ""
        error = json.loads(done.out)["error"]
        assert {"message", "argument", "expected", "received", "remedy"} == set(error)
        assert all(error.values()) and error["message"].startswith(error["argument"])

    @pytest.mark.parametrize("arguments", [["show", "none", "--jso", f"--{TURNED}"], ["merge"]])
    def test_wrong_arguments_are_json_alone(self, arguments: list[str], command: Command) -> None:
        done = command(*arguments, "--json")
        assert done.code == 2 and done.err == ""
        assert f"{arguments[0]} --help" in json.loads(done.out)["error"]["remedy"]

    def test_json_behind_the_end_of_options_is_a_name(self, command: Command) -> None:
        done = command("show", "--", "--json")
        assert done.code == 1 and done.out == "" and done.err.startswith("Error: --json: ")

    @pytest.mark.parametrize(
        ("error", "code", "expected"),
        [
            (KeyboardInterrupt(), 130, "Interrupted."),
            (Interrupted("Interrupted; go on."), 130, "Interrupted; go on."),
            (PermissionError(13, "Permission denied", "a\x1b"), 1, "Permission denied: 'a\\x1b'. Fix that"),
        ],
    )
    def test_an_interrupt_and_a_failure_of_the_system_are_json_alone(
        self,
        error: BaseException,
        code: int,
        expected: str,
        command: Command,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """For any command: errors are reported at the end of the command line."""
        failing(error, monkeypatch)
        done = command("list", "--json")
        assert done.code == code and done.err == ""
        assert expected in json.loads(done.out)["error"]["message"]

    def test_internal_errors_are_json_too(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        failing(RuntimeError(CLEAR), monkeypatch)
        monkeypatch.setattr("sys.argv", ["kingyo", "list", "--json"])
        with pytest.raises(RuntimeError):
            cli.main()
        assert json.loads(capsys.readouterr().out)["error"]["message"] == f"RuntimeError: {CLEAR}"

    def test_an_escape_sequence_in_a_file_name_is_written_out(self, command: Command) -> None:
        name = f"no{CLEAR}\nWrote all"
        done = command("show", name)
        assert done.code == 1 and not STEERING.search(done.err)
        assert done.err.startswith("Error: no\\x1b[2J\n  Wrote all: expected")
        result = command("show", name, "--json")
        assert json.loads(result.out)["error"]["argument"] == name and not STEERING.search(result.out)


LOUD = """
import atexit, os, subprocess, sys

atexit.register(lambda: print("at the end"))

def loud(answer, item):
    print("print")
    sys.__stdout__.write("kept back")
    os.write(1, b"os.write")
    subprocess.run(["echo", "subprocess"], check=True)
    return 1

def raises(answer, item):
    raise RuntimeError("no \\x1b[2J[red]idea[/red]\\u202e")
"""


class TestModels:
    """A model with escape sequences in its vocabulary, and graders with arbitrary messages."""

    @pytest.fixture
    def hostile(self, world: World) -> World:
        tokenizer = world.folder / "a" / "tokenizer.json"
        data = json.loads(tokenizer.read_text())
        words = data["model"]["vocab"]
        data["model"]["vocab"] = {
            f"{CLEAR}{CLIPBOARD}[red]{TURNED}{word}[/red]" if word.isdigit() and word != "1" else word: number
            for word, number in words.items()
        }
        tokenizer.write_text(json.dumps(data))
        (world.folder / "grade.py").write_text(LOUD)
        return world

    @pytest.mark.slow
    def test_chat_answers_cannot_control_the_terminal(self, hostile: World) -> None:
        done = subprocess.run(
            command_of("chat", "a", "--prompt", "{prompt}", "--max-new-tokens", "8"),
            cwd=hostile.folder,
            input="1\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert r"\x1b[2J\x1b]52;c;cm0gLXJm\x07[red]\u202e" in done.stdout
        assert not STEERING.search(done.stdout)

    @pytest.mark.slow
    def test_what_a_grader_and_its_subprocesses_print_is_no_part_of_the_json(self, hostile: World) -> None:
        task = hostile.folder / "task.yaml"
        task.write_text(task.read_text().replace("grade.py:even", "grade.py:loud"))
        done = hostile.ok("evaluate", "a", "task.yaml", "--json", fresh=True)
        assert json.loads(done.stdout)["score"] == 1
        assert {"print", "kept back", "os.write", "subprocess", "at the end"} <= set(
            re.findall("print|kept back|os.write|subprocess|at the end", done.stderr)
        )

    def test_a_graders_error_cannot_control_the_terminal(self, hostile: World) -> None:
        task = hostile.folder / "task.yaml"
        task.write_text(task.read_text().replace("grade.py:even", "grade.py:raises"))
        done = hostile.fails("evaluate", "a", "task.yaml")
        assert r"no \x1b[2J[red]idea[/red]\u202e" in done.stderr
        output = hostile.fails("evaluate", "a", "task.yaml", "--json")
        assert "[red]idea" in json.loads(output.stdout)["error"]["message"]
        assert not STEERING.search(done.stderr) and not STEERING.search(output.stdout)
