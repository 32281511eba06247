"""`kingyo layers` on the command line: the table, JSON, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import World
from tests.cli.path_runs import of_other_tokens
from tests.models_on_disk import llama


def layers_json(world: World, *arguments: str | Path) -> dict[str, Any]:
    done = world.ok("layers", *arguments, "--json")
    return json.loads(done.stdout)


def test_a_run_yaml_dry_run_prints_text(world: World) -> None:
    done = world.ok("layers", "run.yaml")
    assert "A = a, 3 layers" in done.stdout
    assert "B = b, 3 layers" in done.stdout
    assert "tokens of 16 prompts" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    head = lines.index(["A.0", "A.1", "A.2", "B.0", "B.1", "B.2"])
    row = lines[head + 2]
    assert row[:1] == ["A.0"] and row[2] == "1", "layer 1 of A is entered by what leaves layer 0"
    assert lines[-1][0] == "B.2"


def test_json_has_every_number(world: World) -> None:
    summary = layers_json(world, "run.yaml")
    assert list(summary) == ["models", "layers", "prompts", "tokens", "places", "cosine"]
    assert summary["places"] == ["a.0", "a.1", "a.2", "a.3", "b.0", "b.1", "b.2", "b.3"]
    assert (summary["layers"], summary["prompts"]) == ({"a": 3, "b": 3}, 16)
    assert summary["tokens"] > 16
    assert [summary["cosine"][i][i] for i in range(8)] == pytest.approx([1] * 8)
    assert summary["cosine"][1][5] == summary["cosine"][5][1] < 0.999


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: llama(folder, hidden=32), "hidden_size in config.json: expected 16 as in a"),
        (of_other_tokens, "the vocabularies of a and other: expected one id for each token"),
    ],
)
def test_incompatible_consecutive_layers_are_refused(world: World, make: Any, says: str) -> None:
    make(world.folder / "other")
    done = world.fails("layers", world.config(base=None, sources={"a": "a", "other": "other"}))
    assert says in " ".join(done.stderr.split())
