"""Prompts as models read them, chat templates that are not used, and answers that are cut."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import World
from tests.cli.merging import Command

UNUSED = "chat is not set, but all models have a chat template"


def config(world: World, **task: object) -> Path:
    """Write the run.yaml with other keys of the task, without ``chat`` if it is not one of them."""
    own = yaml.safe_load((world.folder / "run.yaml").read_text())["task"]
    own.pop("chat")
    return world.config(task={**own, **task}, budget={"candidates": 2}, controls=None)


def dry_run(command: Command, file: Path) -> dict[str, Any]:
    done = command("evolve", file, "--dry-run", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_dry_run_warns_of_a_template_that_is_not_used(command: Command, world: World) -> None:
    (warning,) = dry_run(command, config(world))["warnings"]
    assert warning.startswith(UNUSED)
    text = " ".join(command("evolve", config(world), "--dry-run").out.split())
    assert f"Warning: {UNUSED}" in text and "All fits together, apart from the warnings." in text
    for chat in (True, False):
        assert dry_run(command, config(world, chat=chat))["warnings"] == []


def test_a_dry_run_warns_of_right_answers_that_are_too_long(command: Command, world: World) -> None:
    rows = [{"prompt": f"{n} + 1 =", "answer": " ".join(["7"] * (5 if n % 4 else 9))} for n in range(40)]
    (world.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = {"grader": "exact", "chat": False}
    (warning,) = dry_run(command, config(world, **keys))["warnings"]
    assert "10 of 40 right answers have more than max_new_tokens = 6 tokens, up to 9" in warning
    for other in ({"max_new_tokens": 9}, {"grader": "grade.py:even"}):
        assert dry_run(command, config(world, **{**keys, **other}))["warnings"] == []


def test_a_run_warns_of_both(world: World) -> None:
    done = world.ok("evolve", config(world))
    early, _, late = " ".join(done.stderr.split()).partition("Search on validation")
    assert f"Warning: {UNUSED}" in early
    assert "16 of 16 answers of the best baseline" in early and "cut at max_new_tokens = 6 (fit)" in early
    assert "best baseline" not in late
    advice = world.show("runs/small")["advice"]
    assert [each["what"][: len(UNUSED)] for each in advice if each["kind"] == "setup"] == [UNUSED]  # type: ignore[attr-defined]
    assert "cut" in [each["kind"] for each in advice]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("chat", "prompt"), [(False, "{}"), (True, "Q: {} A:")])
def test_a_dry_run_renders_a_prompt(command: Command, world: World, chat: bool, prompt: str) -> None:
    plan = dry_run(command, config(world, chat=chat))
    asked = plan["prompts"]["even"]
    begins, ends = prompt.split("{}")
    assert asked.startswith(begins) and asked.endswith(ends) and "+" in asked
    text = command("evolve", config(world, chat=chat), "--dry-run").out
    assert "the first prompt, as models read it:" in text and f"  {asked}\n" in text
