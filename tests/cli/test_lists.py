"""`kingyo list` in its forms."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.cli.conftest import command

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("list", *words),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )


def test_methods_as_a_page() -> None:
    assert run("methods", "--markdown").stdout == PAGE.read_text(encoding="utf-8")


def test_only_methods_have_a_page() -> None:
    done = run("graders", "--markdown")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: --markdown: expected methods, which have a page; received graders. "
        "Leave the flag out, or take --json.\n"
    )


def test_methods_as_data() -> None:
    rows = {row["name"]: row for row in json.loads(run("methods", "--json").stdout)}
    assert rows["nuslerp"]["min_sources"] == rows["nuslerp"]["max_sources"] == 2
    assert (rows["nuslerp"]["needs_base"], rows["nuslerp"]["takes_base"]) == (False, True)
    (t,) = rows["nearswap"]["parameters"]
    assert (t["kind"], t["default"], t["search_scale"], t["low"]) == ("float", None, "log", 0)


def test_one_method_as_data() -> None:
    (row,) = json.loads(run("methods", "ties", "--json").stdout)
    assert row["name"] == "ties" and row["parameters"]


def test_methods_in_short() -> None:
    done = run("methods")
    lines = done.stdout.splitlines()
    assert len(lines) < 60 and all(len(line) <= 80 for line in lines)
    assert "max_iter" not in done.stdout
    assert lines[-1] == "`kingyo list methods NAME` says what one of them can be told."


def test_one_of_each_kind() -> None:
    for what, name, option in (
        ("methods", "karcher", "max_iter (10; whole number of at least 0): "),
        ("strategies", "ga", "population"),
        ("graders", "contains", ""),
        ("presets", "sakana-ps", "strategy: cma-es"),
        ("presets", "fast", "screen.items: 32"),
    ):
        done = run(what, name)
        assert done.returncode == 0 and done.stdout.startswith(f"{name}: ") and option in done.stdout
    assert "Merges 2 sources, a base if you like." in run("methods", "nuslerp").stdout


def test_a_name_that_is_none_of_them() -> None:
    done = run("methods", "tise")
    assert done.returncode == 1
    assert done.stderr == "Error: methods: expected a known name; received 'tise'. Did you mean 'ties'?\n"
