"""`kingyo scout` as its users call it: tables, JSON, exit codes, Ctrl-C."""

import json
import os
import pty
import shutil
import signal
import subprocess

from tests.cli.conftest import World, command
from tests.scout.shelves import write_card


def test_a_table_with_reasons_and_counts(world: World) -> None:
    for name in ("a", "b"):
        write_card(world.folder / name, base="../base")
    (world.folder / "b" / "model.safetensors").write_bytes(b"[red]")
    done = world.ok("scout", ".")
    assert done.stderr == "", done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "Base: base"
    assert any(line.startswith("a llama float32 apache-2.0 ") for line in lines)
    assert "base is excluded: the base itself" in lines
    assert any(
        line.startswith("b is excluded: unreadable: ") and "b/model.safetensors: " in line for line in lines
    )
    assert (
        lines[-1]
        == "3 candidates: 1 can be merged in 1 group; 2 excluded: the base itself (1), unreadable (1)."
    )


def test_standard_output_contains_only_json(world: World) -> None:
    done = world.run("scout", "a", "b", "--base", "base", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == ""
    assert found["counts"] == {"candidates": 2, "mergeable": 2, "excluded": {}}
    assert set(found) == {"base", "groups", "excluded", "unread_bases", "counts"}
    candidate = found["groups"][0]["candidates"][0]
    assert {*candidate} >= {"reference", "kind", "n_parameters", "licence", "base", "dtype"}


def test_nothing_to_read(world: World) -> None:
    (world.folder / "empty").mkdir()
    done = world.fails("scout", "empty")
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ") and len(done.stderr.splitlines()) == 1


def test_nothing_that_fits(world: World) -> None:
    done = world.fails("scout", "a")
    assert "1 candidate: 0 can be merged in 0 groups; 1 excluded" in done.stdout


def test_a_path_that_does_not_exist_is_one_error(world: World) -> None:
    done = world.fails("scout", "a", "./nowhere")
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: ") and "nowhere: expected a folder, or" in done.stderr


def test_a_wrong_path_that_could_be_a_name_on_the_hub(world: World) -> None:
    done = world.fails("scout", "zoo/pol", env={"HF_HUB_OFFLINE": "1"}, fresh=True)
    assert done.stdout == ""
    assert "zoo/pol: " in done.stderr
    assert "received no such folder here; and from the Hub OfflineModeIsEnabled" in done.stderr


def test_ctrl_c_ends_cleanly_and_a_terminal_shows_progress(world: World) -> None:
    for i in range(3000):
        (world.folder / "many" / f"{i:04}").mkdir(parents=True)
        for file in (world.folder / "base").iterdir():
            os.link(file, world.folder / "many" / f"{i:04}" / file.name)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    child = subprocess.Popen(
        command("scout", "many"), cwd=world.folder, env=environment, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"reading" not in shown:
        shown += os.read(ours, 1000)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    while b"Interrupted" not in shown:
        shown += os.read(ours, 1000)
    assert b"Traceback" not in shown
    child.stdout.close() if child.stdout else None
    os.close(ours)
    shutil.rmtree(world.folder / "many")
