"""`kingyo list` in its three forms."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.cli.conftest import command

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("list", *words), capture_output=True, text=True, check=False)


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


def test_methods_as_a_table() -> None:
    done = subprocess.run(
        command("list", "methods"),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "400"},
    )
    assert "Merges 2 sources, a base if you like." in done.stdout
    assert "max_iter (10; whole number of at least 0): " in done.stdout
