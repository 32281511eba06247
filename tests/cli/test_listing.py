"""`kingyo list` in its forms."""

import json
from pathlib import Path

import pytest

from tests.cli.merging import Command


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_methods_as_data(command: Command) -> None:
    rows = {row["name"]: row for row in json.loads(command("list", "methods", "--json").out)}
    assert rows["nuslerp"]["min_sources"] == rows["nuslerp"]["max_sources"] == 2
    (t,) = rows["nearswap"]["parameters"]
    assert (t["kind"], t["default"], t["search_scale"], t["low"]) == ("float", None, "log", 0)
    assert json.loads(command("list", "methods", "ties", "--json").out) == [rows["ties"]]


def test_one_of_each_kind(command: Command) -> None:
    for what, name, option in (
        ("methods", "karcher", "max_iter (10; whole number of at least 0): "),
        ("strategies", "ga", "population"),
        ("graders", "contains", ""),
        ("graders", "style", "k (5): "),
        ("presets", "fast", "screen.items: 32"),
        ("kinds", "causal-lm", ""),
    ):
        assert any(line.startswith(name) for line in command("list", what).out.splitlines()), what
        done = command("list", what, name)
        assert done.code == 0 and done.out.startswith(f"{name}: ") and option in done.out
        assert all(row["doc"] for row in json.loads(command("list", what, "--json").out))


@pytest.mark.parametrize(
    ("what", "for_most"),
    [("strategies", ["item-gp", "coarse-to-fine", "nsga2"]), ("presets", ["fast", "quality", "pareto"])],
)
def test_the_three_for_most_runs_come_first(command: Command, what: str, for_most: list[str]) -> None:
    rows = json.loads(command("list", what, "--json").out)
    assert [row["name"] for row in rows if row["for_most_runs"]] == for_most
    assert [row["name"] for row in rows[:3]] == for_most
    assert command("list", what).out.startswith("Those for most runs")


def test_a_name_that_is_none_of_them(command: Command) -> None:
    done = command("list", "methods", "tise")
    assert done.code == 1
    assert done.err == "Error: methods: expected a known name; received 'tise'. Did you mean 'ties'?\n"
