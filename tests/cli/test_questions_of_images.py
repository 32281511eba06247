"""Several questions per image: they stay in one split, and answers include the question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kingyo.core.types import SPLITS
from kingyo.runs.run import open_task
from kingyo.store import RunStore
from tests.cli.conftest import World
from tests.tasks.pictures import KIND, picture

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
OWN = KIND.replace("prompt=settings.question", "prompt=fields[settings.question]")
N_IMAGES, QUESTIONS = 12, ("", "What is it?", "Is it red?")


@pytest.fixture
def album(world: World) -> World:
    """A world with three questions, one of them empty, for each of twelve images."""
    (world.folder / "colours.py").write_text(OWN)
    rows: list[dict[str, str]] = []
    for i in range(N_IMAGES):
        (world.folder / f"{i}.png").write_bytes(picture(i))
        rows += [{"image": f"{i}.png", "q": question, "answer": str(i)} for question in QUESTIONS]
    (world.folder / "album.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return world


def config(world: World, **task: object) -> Path:
    plain = {"search": {"strategy": "random"}, "controls": {"random": False, "grid": False}}
    own = {"kind": "colours.py:Colours", "data": "album.jsonl", "question": "q", **task}
    return world.config(task=own, budget={"candidates": 2}, **plain)


@pytest.mark.slow
def test_near_duplicates_stay_in_one_split_and_are_reported(album: World) -> None:
    path, line = config(album), "12 groups of near-duplicates (36 items; 12 groups of the same image)"
    done = album.run("evolve", path, "--dry-run")
    assert f"{line}, each within one split" in " ".join(done.stdout.split()), done.stderr
    for words in (["evolve", path], ["export", "runs/small", "out"], ["report", "runs/small"]):
        album.ok(*words)
    with RunStore.read(album.folder / "runs/small") as store:
        splits = store.items()
    images = [{item.media[0].sha256 for item in splits[split]} for split in SPLITS]
    assert [len(splits[split]) for split in SPLITS] == [18, 9, 9]
    assert [len(each) for each in images] == [6, 3, 3]
    assert len(set().union(*images)) == N_IMAGES
    assert f"Items: {line}" in " ".join(album.run("show", "runs/small").stdout.split())
    assert line in (album.folder / "runs/small/report.html").read_text()
    again = open_task(album.folder / "out" / "task.yaml")
    for split in SPLITS:
        assert [item.id for item in again.items(split)] == [item.id for item in splits[split]]


def test_answers_include_the_question_and_the_image(album: World) -> None:
    album.ok("evolve", config(album))
    show_command = ["show", "runs/small", "--trial", "0", "--answers", "100"]
    lines = [line.split(maxsplit=1) for line in album.run(*show_command).stdout.splitlines()]
    answers = album.data(*show_command)["answers"]
    with RunStore.read(album.folder / "runs/small") as store:
        fit = store.items()["fit"]
    images = sorted(item.media[0].name for item in fit)
    assert sorted(Path(line[1]).name for line in lines if line[:1] == ["image"]) == images
    assert sorted(Path(each["images"][0]).name for each in answers) == images
    prompts = sorted(item.prompt for item in fit if item.prompt)
    assert sorted(line[1] for line in lines if line[:1] == ["prompt"]) == prompts


def test_one_image_for_all_is_refused_unless_splits_may_share_it(album: World) -> None:
    rows = [{"image": "0.png", "q": f"What is at {i}?", "answer": str(i)} for i in range(24)]
    (album.folder / "album.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = album.fails("evolve", config(album))
    assert "24 items joined by shared images" in " ".join(done.stderr.split())
    assert not (album.folder / "runs").exists()
    path = config(album, splits={"share_images": True})
    for words in (["evolve", path], ["export", "runs/small", "out"]):
        done = album.ok(*words)
    assert "near_duplicates" not in done.stdout
    exported = yaml.safe_load((album.folder / "out" / "task.yaml").read_text())["splits"]
    assert exported == {"column": "kingyo_split", "share_images": True}
    with RunStore.read(album.folder / "runs/small") as store:
        splits = store.items()
    again = open_task(album.folder / "out" / "task.yaml")
    for split in SPLITS:
        assert [item.id for item in again.items(split)] == [item.id for item in splits[split]]
