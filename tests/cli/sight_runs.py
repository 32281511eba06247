"""Small runs that breed a language model into one that sees."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import World
from tests.models.classifiers import picture
from tests.models.vision_families import build, build_text

N = 24
TASK = {"kind": "vqa", "data": "rows.jsonl", "grader": "rouge-l", "max_new_tokens": 4}
FLOW = {"space": "dataflow", "budget": {"candidates": 8}}
HYBRID = {"space": "hybrid", "budget": {"candidates": 8}}
JOINT = {**HYBRID, "hybrid": {"joint": True}}
SLOW = pytest.mark.slow


def write_models(folder: Path) -> Path:
    """Write the models `see`, `base` and `ja`, questions about one or two images, run.yaml and task.yaml."""
    build("llava", folder / "see", seed=3)
    for seed, name in enumerate(("base", "ja")):
        build_text("llava", folder / name, seed=seed)
    (folder / "images").mkdir()
    for n in range(N):
        (folder / "images" / f"{n}.png").write_bytes(picture((10 * n, 9, 200), size=30).read())
    images = [[f"images/{n}.png", *([f"images/{n - 1}.png"] if n % 2 else [])] for n in range(N)]
    rows = [
        {"images": each, "question": f"what is {n}?", "answer": "a red mat"} for n, each in enumerate(images)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = {"name": "sight", "base": "base", "sources": {"see": "see", "ja": "ja"}, "task": TASK}
    for name, content in (
        ("run", {**run, "merge": {"groups": "block"}, "budget": {"candidates": 6}}),
        ("task", TASK),
    ):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def path_run(world: World, **keys: object) -> str:
    """Write a run of paths, with the language model as its first source, and return its name."""
    run = yaml.safe_load((world.folder / "run.yaml").read_text())
    run = {**run, "sources": {"ja": "ja", "see": "see"}, "merge": {}, **keys}
    (world.folder / "paths.yaml").write_text(yaml.safe_dump(run))
    return "paths.yaml"
