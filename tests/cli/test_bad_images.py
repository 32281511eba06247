"""Bad images, labels and classifiers through the real command: one clear error, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.bad_runs import files
from tests.cli.conftest import World
from tests.merging.checkpoints.fitting import restate
from tests.models.classifiers import LABELS, picture, vit

Damage = Callable[[Path], object]
DRY, EVOLVE = ("evolve", "run.yaml", "--dry-run"), ("evolve", "run.yaml", "--run", "run")
EVALUATE, MERGE = ("evaluate", "one", "task.yaml", "--split", "all"), ("merge", "recipe.yaml", "merged")


@pytest.fixture(scope="module")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(("base", "one", "other")):
        vit(folder / name, seed)
    (folder / "images").mkdir()
    for n in range(12):
        (folder / "images" / f"{n}.png").write_bytes(picture((20 * n, 9, 9)).read())
    rows = [{"image": f"images/{n}.png", "label": LABELS[n % 3]} for n in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"kind": "classify", "data": "rows.jsonl"}
    run = {"base": "base", "sources": {"one": "one", "other": "other"}, "task": task}
    models = [{"model": name, "parameters": {"weight": 0.5}} for name in ("one", "other")]
    for name, content in (
        ("run", {**run, "budget": {"candidates": 2}}),
        ("task", task),
        ("recipe", {"merge_method": "linear", "models": models}),
    ):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture
def world(picture_folder: Path, tmp_path: Path) -> World:
    return World(folder=shutil.copytree(picture_folder, tmp_path / "world"))


def row(**cells: object) -> Damage:
    """Change the cells of one row."""

    def change(folder: Path) -> None:
        lines = (folder / "rows.jsonl").read_text().splitlines()
        lines[7] = json.dumps({**json.loads(lines[7]), **cells})
        (folder / "rows.jsonl").write_text("\n".join(lines))

    return change


def config(*names: str, **keys: object) -> Damage:
    return lambda folder: [restate(folder / name, **keys) for name in names]


SWAPPED = {"0": "green", "1": "red", "2": "blue"}
ALL = ("base", "one", "other")
BAD: dict[str, tuple[Damage, tuple[tuple[str, ...], ...], str]] = {
    "a path that no system allows": (
        row(image="a" * 5000),
        (DRY, EVOLVE, EVALUATE),
        "line 8: image: expected an image file",
    ),
    "no class": (row(label="purple"), (DRY, EVOLVE, EVALUATE), "one of the 3 classes"),
    "a name of two classes": (
        config(*ALL, id2label={"0": "red", "1": "red", "2": "blue"}),
        (DRY, EVALUATE),
        "received 'red', the name of 2 classes. Use its index: 0 or 1",
    ),
    "classes in another order": (
        config("other", id2label=SWAPPED),
        (DRY, EVOLVE, MERGE),
        "id2label in config.json",
    ),
    "a config that does not fit": (
        config(*ALL, num_channels=1),
        (DRY, EVOLVE, EVALUATE),
        "embeddings.patch_embeddings.projection.weight",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_images_give_one_error_and_no_output(world: World, what: str) -> None:
    damage, commands, says = BAD[what]
    damage(world.folder)
    before = files(world.folder)
    for words in commands:
        done = world.fails(*words)
        assert done.stderr.count("\nError:") + done.stderr.startswith("Error:") == 1, done.stderr
        assert "Traceback" not in done.stderr and says in " ".join(done.stderr.split())
        assert len(done.stderr) < 1500
        assert files(world.folder) == before, words
