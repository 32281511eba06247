"""`kingyo init` for models that see: a run.yaml with questions about images."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import World

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
SIGHT = Path(__file__).parents[2] / "zoo" / "sight"
SEES = ("--base", "base", "--source", "see-en", "--source", "ja")
NO_EYES = ("--base", "base", "--source", "ja", "--source", "poem")
N = 16


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of the zoo that sees, and its first questions."""
    folder = tmp_path_factory.mktemp("init") / "world"
    folder.mkdir()
    for name in ("base", "see-en", "ja", "poem"):
        (folder / name).symlink_to(SIGHT / name)
    (folder / "images").mkdir()
    lines = (SIGHT / "tasks" / "questions-ja.jsonl").read_text(encoding="utf-8").splitlines()[:N]
    rows = [json.loads(line) for line in lines]
    for name in (name for row in rows for name in row["images"]):
        shutil.copy(SIGHT / "tasks" / name, folder / name)
    write(folder, rows)
    return folder


@pytest.fixture
def world(models: Path, tmp_path: Path) -> World:
    return World(folder=Path(shutil.copytree(models, tmp_path / "world", symlinks=True)))


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "shelf.jsonl").write_text(text, encoding="utf-8")


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "shelf.jsonl").read_text("utf-8").splitlines()]


def init(world: World, *words: str) -> dict[str, Any]:
    """Write new.yaml, pass a dry run, and return it."""
    world.ok("init", "new.yaml", "--task", "shelf.jsonl", "--grader", "exact", *words)
    run = yaml.safe_load((world.folder / "new.yaml").read_text())
    dry_run = world.ok("evolve", "new.yaml", "--dry-run")
    assert ("<image> × 9\n" in dry_run.stdout) == ("kind" in run["task"])
    return run


def test_questions_about_images(world: World) -> None:
    run = init(world, *SEES, "--max-new-tokens", "24")
    assert run["sources"] == {"see-en": "see-en", "ja": "ja"}
    assert run["merge"]["frame"] == "see-en"
    keys = {"kind": "vqa", "images": "images", "prompt": "{question}", "answer": "answer", "chat": True}
    assert run["task"].items() >= keys.items()


def test_several_right_answers_and_other_names(world: World) -> None:
    write(
        world.folder,
        [
            {"id": n, "photo": row["images"][0], "ask": row["question"], "answers": [row["answer"], "?"]}
            for n, row in enumerate(read(world.folder))
        ],
    )
    task = init(world, *SEES)["task"]
    keys = {"kind": "vqa", "images": "photo", "prompt": "{ask}", "answers": "answers", "chat": True}
    assert task.items() >= keys.items() and "answer" not in task


def test_models_without_eyes_get_a_text_task(world: World) -> None:
    rows = [{**row, "question": f"{n} + 1?"} for n, row in enumerate(read(world.folder))]
    write(world.folder, rows)
    task = init(world, *NO_EYES, "--prompt", "{question}")["task"]
    assert not {"kind", "images"} & task.keys()
