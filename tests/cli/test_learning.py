"""Learned weights at the command line: what the dry run, show, report and card of a run say about them."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import World
from tests.cli.merging import Command


@pytest.fixture(scope="module")
def learned(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which `runs/small` has learned weights. Tests only read it."""
    world = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("learned") / "world")))
    rows = [{"prompt": f"{n} + {n} =", "answer": str(2 * (n % 20))} for n in range(40)]  # right to the grader
    (world.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = yaml.safe_load((world.folder / "task.yaml").read_text())
    config = world.config(
        search=None, controls=None, task={**task, "max_new_tokens": 2}, budget={"candidates": 46}
    )
    world.ok("evolve", config)
    return world


def test_show_says_what_learning_cost_and_brought(learned: World) -> None:
    done = learned.run("show", "runs/small")
    words = " ".join(done.stdout.split())
    learning = learned.show("runs/small")["learning"]
    assert isinstance(learning, dict)
    trials = " and ".join(map(str, learning["trials"]))
    assert f"({'trial' if learning['lessons'] == 1 else 'trials'} {trials}) from up to " in words
    assert f"for {learning['items']} of the search's {learning['search_items']} item evaluations" in words
    assert learning["items"] == learning["steps"] * 8 * 3 and learning["search_items"] <= 46 * 16
    assert learning["bred"] in ("learned", "descends", "plain")
    assert done.stdout.count("The bred model") == 1


def lesson_of(world: World, trial: int) -> tuple[dict[str, object] | None, str]:
    """Return the lesson of a trial, and what is printed of it."""
    done = world.run("show", "runs/small", "--trial", str(trial), "--json")
    text = world.run("show", "runs/small", "--trial", str(trial)).stdout
    return json.loads(done.stdout)["lesson"], " ".join(text.split())


def test_a_learned_trial_is_shown_with_its_lesson(learned: World) -> None:
    lesson, text = lesson_of(learned, 6)  # the first that may be learned
    assert lesson is not None and set(lesson) == {"steps", "targets", "items", "seconds", "loss"}
    assert f"{lesson['steps']} steps, {lesson['targets']} answers, loss " in text
    assert lesson_of(learned, 5)[0] is None and "steps" not in lesson_of(learned, 5)[1]


def test_the_card_says_that_weights_were_learned(learned: World) -> None:
    for trial, name in ((6, "learned"), (0, "plain")):
        learned.ok("export", "runs/small", name, "--trial", str(trial))
        card = (learned.folder / name / "README.md").read_text("utf-8")
        assert "- Weights were learned " in card
        is_learned = name == "learned"
        assert ("weights of the merge learned by gradient" in card) is is_learned
        assert ("without any gradient training" in card) is not is_learned
        assert ("mean (lowest to highest) over groups of tensors: weight/a " in card) is is_learned


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "weights are learned by gradient: 60 weights"),
        (
            {"budget": {"candidates": 24}},
            "not learned by gradient, because of a budget of 384 item evaluations",
        ),
        ({"learn": False}, None),
        ({"space": "dataflow", "merge": {}}, None),
    ],
)
def test_the_dry_run_says_whether_weights_are_learned(
    world: World, command: Command, changes: dict[str, object], says: str | None
) -> None:
    config = world.config(**{"search": None, "controls": None, "budget": {"candidates": 46}, **changes})
    done = command("evolve", config, "--dry-run")
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert (says or "") in words
    assert ("gradient" in words) is (says is not None)
    learns = says is not None and "weights are learned" in says
    learning = json.loads(command("evolve", config, "--dry-run", "--json").out)["learning"]
    assert (learning["weights"] > 0) is learns
    assert (learning["reason"] is not None) is (says is not None and not learns)
