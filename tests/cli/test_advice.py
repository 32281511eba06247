"""Messages of a run: warnings while it runs, advice at its end, answers of a trial."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import World

ZERO = """
def zero(answer, item):
    return 0.0
"""


def graded(world: World, grader: str, **changes: object) -> Path:
    """Write a run.yaml whose task is graded by a function of ZERO."""
    (world.folder / "flat.py").write_text(ZERO)
    task = {
        "name": "flat",
        "data": "items.jsonl",
        "chat": False,
        "grader": f"flat.py:{grader}",
        "max_new_tokens": 6,
        "splits": {"fit": 16, "validation": 12, "test": 12},
    }
    controls = {"random": False, "grid": False}
    return world.config(task=task, budget={"candidates": 8}, controls=controls, **changes)


def test_all_zero_scores_are_reported_at_once_and_at_the_end(world: World) -> None:
    done = world.ok("evolve", graded(world, "zero"), "--run", "runs/zero")
    (line,) = [line for line in done.stderr.splitlines() if "All 4 baselines score 0% on fit." in line]
    assert "--trial uniform --answers 5" in line
    assert done.stderr.count("score 0%") == 1
    text = " ".join(done.stdout.split())
    assert "Warning: All 4 baselines and 8 candidates score 0% on fit." in text
    assert "kingyo show runs/zero --trial 0 --answers 5" in text
    advice = {each["kind"]: each for each in json.loads(json.dumps(world.show("runs/zero")["advice"]))}
    assert set(advice) == {"zero", "cut", "bound"} - ({"bound"} - set(advice))
    assert advice["zero"]["level"] == "warning" and "docs/zero.md" in advice["zero"]["remedy"]


def test_answers_come_with_the_worst_first(finished: World) -> None:
    shown = finished.data("show", "runs/small", "--trial", "3", "--answers", "5")
    scores = [each["score"] for each in shown["answers"]]
    assert len(scores) == 5 and scores == sorted(scores)
    assert {"id", "prompt", "reference", "answer", "score"} <= set(shown["answers"][0])
    output = finished.run("show", "runs/small", "--trial", "3", "--answers", "5").stdout
    for each in shown["answers"]:
        assert f"{each['id']}: {100 * each['score']:.0f}%" in output
        assert f"prompt    {each['prompt']}" in output
        assert f"expected  {each['reference']}" in output
    assert output.count("answered  ") == 5 and "merge_method" not in output
    all_of_them = finished.run("show", "runs/small", "--trial", "3", "--answers", "99", "--json").stdout
    assert len(json.loads(all_of_them)["answers"]) == 16


def test_what_was_measured_stands_beside_what_is_estimated(world: World) -> None:
    search = {"strategy": "item-gp", "screen": {"items": 5}}
    done = world.ok("evolve", world.config(search=search, budget={"candidates": 8}))
    assert re.search(r"best ≈ [\d.]+%", done.stderr)
    shown = world.run("show", "runs/small", "--trial", "2").stdout
    assert re.search(r"fit: [\d.]+% \[[\d., ]+\], n = 5\b", shown)
    assert re.search(r"fit: ≈ [\d.]+%, which the search estimated for all 16 items\n", shown)
    assert world.show("runs/small")["winner"]["fit"]["n"] == 5
