"""The control `trained`, in real processes: a LoRA trained on the fit items, as a rival of the search."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from kingyo.core.types import Example
from kingyo.models.training import Course, Start, train_lora
from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.training_runs import EASY, SPLITS, easy
from tests.stores import edited, query


def training(run: Path) -> dict[str, Any]:
    ((value,),) = query(run, "SELECT value FROM facts WHERE key = 'trained'")
    return json.loads(value)


@pytest.fixture(scope="module")
def bred(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which the trained LoRA wins; tests only read `runs/small`."""
    world = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("trained") / "world")))
    world.ok("evolve", easy(world, budget={"minutes": 0.08}))
    return world


def test_a_trained_model_can_be_exported(bred: World, tmp_path: Path) -> None:
    bred.ok("export", "runs/small", tmp_path / "out", "--search", "trained")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "trained on the fit items" in card and "without any gradient training" not in card
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    bred.ok("show", "runs/small", "--trial", "trained:0")
    bred.ok("recipe", "runs/small", "--trial", "trained:0")
    scored = bred.ok(
        "evaluate", tmp_path / "out", tmp_path / "out" / "task.yaml", "--split", "test", "--json"
    )
    trained_score = bred.show("runs/small")["controls"]["trained"]["test"]["score"]
    assert json.loads(scored.stdout)["score"] == pytest.approx(trained_score)


def test_an_adapter_that_changed_is_one_error(bred: World, tmp_path: Path) -> None:
    world = World(folder=Path(shutil.copytree(bred.folder, tmp_path / "world")))
    for config in (world.folder / "runs" / "small" / "trained").glob("*/adapter_config.json"):
        config.write_text(config.read_text() + " ")
    world.fails("export", "runs/small", "out", "--search", "trained", says="the adapter that the run trained")
    assert not (world.folder / "out").exists()


@pytest.mark.slow
def test_a_killed_control_resumes_to_the_same_result(world: World) -> None:
    config = easy(world, finalists=4)
    interrupted(world, "evolve", config, after=3 + 12)
    run = world.folder / "runs" / "small"
    while evaluations(run) < 3 + 12 + 1 or not (run / "trained").exists():
        interrupted(world, "resume", "runs/small", after=evaluations(run) + 1)
    expected_run = shutil.copytree(run, world.folder / "runs" / "whole")
    if (run / "trained" / "0").exists():  # as if it had been killed before this one was noted
        facts = training(run)
        facts["settings"][0].update(digest=None, seconds=None)
        with edited(run) as connection:
            connection.execute("UPDATE facts SET value = ? WHERE key = 'trained'", (json.dumps(facts),))
    for each in ("runs/small", "runs/whole"):
        world.ok("resume", each)
    digests = [[each["digest"] for each in training(each)["settings"]] for each in (run, expected_run)]
    assert digests[0] == digests[1] and None not in digests[0]


def test_it_learns_two_tasks_and_choices_from_a_parent_with_a_lora(world: World) -> None:
    chosen = {**EASY, "grader": "choice", "data": "choices.jsonl", "choices": "choices", "splits": SPLITS}
    rows = [{"prompt": f"{n} - 1 =", "answer": "8", "choices": ["9 9", "8"]} for n in range(40)]
    (world.folder / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {**EASY, "splits": SPLITS}
    example = Example(item="1", prompt="1 + 1 =", answer="2")
    course = Course(steps=2, learning_rate=1e-3)
    train_lora(Start(path=world.folder / "base"), [example], course, world.folder / "lora")
    changes = {"base": None, "sources": {"a": "base+lora", "b": "a+lora"}, "merge": {"method": "linear"}}
    config = easy(world, task=None, tasks={"written": task, "chosen": chosen}, **changes)
    summary = world.data("evolve", config)
    assert summary["training"]["items"] == 32 and "+" not in summary["training"]["reference"]
    assert set(summary["controls"]["trained"]["tasks"]) == {"written", "chosen"}


def test_without_right_answers_the_run_ends_with_a_reason(world: World) -> None:
    (world.folder / "halves.py").write_text("def half(answer, item):\n    return 0.5\n")
    task = {**EASY, "grader": "halves.py:half", "splits": SPLITS}
    done = world.ok("evolve", easy(world, task=task))
    assert "there is nothing to learn" in " ".join(done.stdout.split())
    assert world.show("runs/small")["status"] == "finished"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "dataflow", "merge": None, "search": None}, "control trained"),
        ({"task": {**EASY, "kind": "kinds.py:make", "splits": SPLITS}}, "`examples`"),
    ],
)
def test_untrainable_settings_are_one_error_before_the_run(
    world: World, changes: Mapping[str, object], message: str
) -> None:
    (world.folder / "kinds.py").write_text(
        "class Kind:\n"
        "    name = 'easy'\n"
        "    def __init__(self, splits):\n        self.splits = splits\n"
        "    def items(self, split):\n        return self.splits[split]\n"
        "    def score(self, model, items):\n        return []\n"
        "def make(name, settings, splits, folder):\n    return Kind(splits)\n"
    )
    world.fails("evolve", easy(world, **changes), says=message)
    assert not (world.folder / "runs" / "small").exists()
