"""The two runs of the zoo that sees: its models fit, no source knows the test, and the searches breed."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import World
from tests.slow import slow

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo" / "sight"
EXAMPLES = ROOT / "examples" / "sight"
SCRIPTS = ("recipes", "scenes")
ITEMS = {"fit": 200, "validation": 150, "test": 500, "duplicates": 0, "unused": 0}
TASKS = ("questions", "comparisons")


@pytest.mark.parametrize(
    ("config", "frame", "sources"),
    [
        ("run", "see-en", ["see-en", "ja", "poem", "sort"]),
        *slow(("compare", "multi", ["multi", "see-en", "ja", "poem", "sort"])),
    ],
)
def test_the_models_fit_together(config: str, frame: str, sources: list[str], tmp_path: Path) -> None:
    file = str(EXAMPLES / f"{config}.yaml")
    dry_run = World(folder=tmp_path).data("evolve", file, "--run", "run", "--dry-run")
    assert dry_run["items"] == ITEMS
    assert dry_run["first_recipe"]["frame"].endswith(f"zoo/sight/{frame}")
    assert dry_run["baselines"] == ["base", *sources, "uniform"]


def test_the_zoo_is_small() -> None:
    assert sum(file.stat().st_size for file in ZOO.rglob("*") if file.is_file()) <= 15_000_000


def test_no_training_scene_has_a_pair_of_the_tests(scripts: dict[str, Any]) -> None:
    scenes = scripts["scenes"]
    rng = random.Random(0)
    shown = [*scenes.seen_scenes(), *(scenes.draw(rng) for _ in range(2000))]
    assert not any(scenes.kept_back(board.kind, board.colour) for scene in shown for board in scene)


def test_no_training_document_has_japanese_about_a_picture(scripts: dict[str, Any]) -> None:
    recipes, rng = scripts["recipes"], random.Random(0)
    seeing = [maker for _, maker in (*recipes.seeing(scripts["scenes"].seen_scenes()), *recipes.COMPARING)]
    documents = [maker(rng) for maker in seeing for _ in range(100)]
    texts = ["".join(text for text, _ in each.spans) for each in documents if each.pictures]
    assert len(texts) >= 200
    assert not any("。" in text for text in texts)
    mixtures = [recipes.BASE, *recipes.TEXT_SOURCES.values()]
    assert not any(maker(rng).pictures for mixture in mixtures for _, maker in mixture for _ in range(20))


def test_multi_names_only_familiar_things_of_pictures(scripts: dict[str, Any]) -> None:
    recipes, rng = scripts["recipes"], random.Random(0)
    documents = [recipes.on_familiar(rng) for _ in range(300)]
    text = "".join(text for each in documents for text, _ in each.spans)
    assert {len(each.pictures) for each in documents} == {2, 3}
    named = [kind.en for kind in recipes.KINDS if f" {kind.en}" in text]
    assert named == [kind.en for kind in recipes.FAMILIAR]


@pytest.mark.parametrize("task", TASKS)
def test_no_picture_is_in_two_splits(task: str) -> None:
    splits: dict[str, set[str]] = {}
    for row in _rows(task):
        splits.setdefault(row["split"], set()).update(row["images"])
    names = [name for pictures in splits.values() for name in pictures]
    assert len(names) == len(set(names))
    assert all((ZOO / "tasks" / name).is_file() for name in names)


def test_the_second_task_compares_two_or_three_pictures() -> None:
    assert {len(row["images"]) for row in _rows("comparisons")} == {2, 3}


@pytest.mark.slow
def test_a_plain_sum_compares_pictures_as_the_notes_say(tmp_path: Path) -> None:
    sources = [{"model": str(ZOO / name), "parameters": {"weight": 1.0}} for name in ("see-en", "ja")]
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(ZOO / "base"),
        "frame": str(ZOO / "multi"),
        "models": sources,
        "dtype": "float32",
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    world = World(folder=tmp_path)
    world.ok("merge", "recipe.yaml", "merged")
    score = world.data("evaluate", "merged", EXAMPLES / "compare.yaml")["score"]
    assert score == pytest.approx(0.356, abs=0.02)


@pytest.mark.slow
def test_the_bred_model_answers_what_no_parent_does(tmp_path: Path) -> None:
    summary = _run("run", tmp_path)
    assert summary["winner"]["test"]["score"] >= 0.7
    assert all(each["test"]["score"] <= 0.25 for each in summary["baselines"].values())


@pytest.mark.slow
def test_the_bred_model_compares_pictures_as_no_parent_does(tmp_path: Path) -> None:
    summary = _run("compare", tmp_path)
    parents = [each["test"]["score"] for each in summary["baselines"].values()]
    assert max(parents) <= 0.3
    assert summary["winner"]["test"]["score"] >= max(parents) + 0.25


def _rows(task: str) -> Iterable[dict[str, Any]]:
    text = (ZOO / "tasks" / f"{task}-ja.jsonl").read_text(encoding="utf-8")
    return map(json.loads, text.splitlines())


def _run(config: str, folder: Path) -> dict[str, Any]:
    return World(folder=folder).data("evolve", EXAMPLES / f"{config}.yaml", "--run", "run")
