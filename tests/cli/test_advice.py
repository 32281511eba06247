"""Messages of a run: warnings while it runs, advice at its end, answers of a trial."""

import json
import re

from tests.cli.conftest import World


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
