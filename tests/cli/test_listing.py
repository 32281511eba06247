"""`kingyo list` in its forms."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from kingyo.cli.listing import EXTRAS, Listing
from kingyo.strategies.presets import DEFAULT_PRESETS, PRESETS
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
    assert done.stderr.startswith("Error: --markdown: ") and "received graders" in done.stderr


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
    assert "`kingyo list methods NAME`" in lines[-1]


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
    assert "Merges 2 sources, optionally a base." in run("methods", "nuslerp").stdout


@pytest.mark.parametrize(
    ("what", "for_most"),
    [("strategies", ["item-gp", "coarse-to-fine", "nsga2"]), ("presets", ["fast", "quality", "pareto"])],
)
def test_the_three_for_most_runs_come_first(what: str, for_most: list[str]) -> None:
    rows = json.loads(run(what, "--json").stdout)
    assert [row["name"] for row in rows[:4] if row["for_most_runs"]] == for_most
    assert not any(row["for_most_runs"] for row in rows[3:])
    first, _, *lines = map(str.rstrip, run(what).stdout.splitlines())
    assert first.startswith("For most runs")
    named = [line.split()[0] for line in lines[: lines.index("")] if not line.startswith(" ")]
    assert named == for_most
    assert PRESETS[DEFAULT_PRESETS["parameters"]].strategy == "item-gp"


def test_missing_extras_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {
        (row["name"], row["extra"], row["installed"])
        for what in ("strategies", "graders", "presets")
        for row in json.loads(run(what, "--json").stdout)
        if row["extra"] is not None
    }
    has_optuna, has_lingua = (find_spec(name) is not None for name in ("optuna", "lingua"))
    assert needs == {
        ("tpe", "bayes", has_optuna),
        ("language", "language", has_lingua),
    }
    monkeypatch.setitem(EXTRAS, "bayes", ("no_such_library",))
    row = Listing(name="tpe", doc="It searches.", options=[], extra="bayes")
    assert row.line == "It searches. Extra: bayes (in a clone: pip install -e '.[bayes]')."


def test_a_name_that_is_none_of_them() -> None:
    done = run("methods", "tise")
    assert done.returncode == 1
    assert done.stderr == "Error: methods: expected a known name; received 'tise'. Did you mean 'ties'?\n"
