"""Two tasks of the zoo and three objectives, through the real commands."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import World, interrupted
from tests.cli.resumed import facts

ROOT = Path(__file__).parent.parent.parent
ZOO = ROOT / "zoo"


def task(name: str, grader: object, fit: int, **more: object) -> dict[str, object]:
    return {
        "data": str(ZOO / "tasks" / f"{name}.jsonl"),
        "prompt": "Q: {prompt}\nA:",
        "grader": grader,
        "max_new_tokens": 24,
        "splits": {"fit": fit, "validation": 8, "test": 10},
        **more,
    }


def make(folder: Path) -> World:
    folder.mkdir()
    (folder / "en.yaml").write_text(yaml.safe_dump(task("en-math", "number", 6)))
    config = {
        "name": "small",
        "base": str(ZOO / "base"),
        "sources": {"ja": str(ZOO / "ja"), "math-en": str(ZOO / "math-en")},
        "tasks": {
            "ja": task("ja-math", ["number", {"language": "ja"}], 12),
            "en": {"file": "en.yaml", "weight": 2},
        },
        "objectives": ["ja", "en", "closeness"],
        "merge": {"parameters": {"weight": {"from": 0, "to": 1.5}}, "dtype": "float32"},
        "search": {"preset": "pareto", "settings": {"population": 4}},
        "budget": {"candidates": 8},
        "controls": {"random": True, "grid": False},
        "finalists": 3,
        "threads": 1,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    return World(folder=folder)


@pytest.fixture(scope="module")
def bred(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make(tmp_path_factory.mktemp("several") / "world")
    world.ok("evolve", "run.yaml")
    return world


def test_show_has_each_task_the_mean_and_the_front(bred: World) -> None:
    shown = bred.data("show", "runs/small")
    test, tasks = shown["winner"]["test"], shown["winner"]["tasks"]
    assert {name: task_result["test"]["n"] for name, task_result in tasks.items()} == {"ja": 10, "en": 10}
    mean = (tasks["ja"]["test"]["score"] + 2 * tasks["en"]["test"]["score"]) / 3
    assert test["score"] == pytest.approx(mean)
    assert test["low"] <= test["score"] <= test["high"]
    front = shown["front"]
    assert front["objectives"] == ["ja", "en", "closeness"]
    assert front["knee"] in [point["trial"] for point in front["points"]]
    text = bred.run("show", "runs/small").stdout
    assert f"trial {front['knee']} (knee" in text and "closeness" in text


def test_any_point_of_the_front_is_exported_and_scored_again(bred: World) -> None:
    shown = bred.data("show", "runs/small")
    bred.ok("export", "runs/small", "knee", "--pick", "knee")
    names = {file.name for file in (bred.folder / "knee").iterdir()}
    assert {"tasks.yaml", "task-ja.yaml", "items-ja.jsonl", "task-en.yaml", "items-en.jsonl"} <= names
    assert f"trial {shown['front']['knee']} of" in (bred.folder / "knee" / "README.md").read_text("utf-8")
    bred.ok("export", "runs/small", "best")
    for where in ("runs/small", "best/tasks.yaml"):
        summary = bred.data("evaluate", "best", where)
        assert summary["score"] == pytest.approx(shown["winner"]["test"]["score"])
        for name, task_result in summary["tasks"].items():
            assert task_result == shown["winner"]["tasks"][name]["test"]
    done = bred.run("evaluate", "best", "runs/small")
    assert "\nWeighted mean of 2 tasks: " in done.stdout
    card = (bred.folder / "best" / "README.md").read_text("utf-8")
    assert "\nWeighted means of 2 tasks with 95% intervals" in card
    off = next(n for n in range(10) if n not in [p["trial"] for p in shown["front"]["points"]])
    bred.fails(
        "export", "runs/small", "off", "--pick", str(off), says="--pick: expected knee, or one of the trials"
    )


@pytest.mark.slow
def test_killed_and_resumed_it_ends_the_same(bred: World, tmp_path: Path) -> None:
    world = make(tmp_path / "world")
    interrupted(world, "evolve", "run.yaml", after=13)
    world.ok("resume", "runs/small")
    assert facts(world.folder / "runs" / "small") == facts(bred.folder / "runs" / "small")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["ja", "fr"]}, "not 'fr'"),
        ({"search": {"preset": "pareto", "screen": {"items": 1}}}, "one for each task"),
    ],
)
def test_impossible_settings_are_errors_before_the_run(
    bred: World, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder = Path(shutil.copytree(bred.folder, tmp_path / "world", ignore=shutil.ignore_patterns("runs")))
    world = World(folder=folder)
    world.fails("evolve", world.config(**changes), says=message)
    assert not (folder / "runs").exists()
