"""`kingyo layers` on the zoo that sees: the layers of language parts, on images and questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import World

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
ROOT = Path(__file__).parents[2]
SIGHT = ROOT / "zoo" / "sight"
LAYERS = 6


@pytest.fixture
def shelf(tmp_path: Path) -> World:
    """A folder with run.yaml and task.yaml about the models and questions of the zoo."""
    run = yaml.safe_load((ROOT / "examples" / "sight" / "run.yaml").read_text())
    task = {**run["task"], "data": str(SIGHT / "tasks" / "questions-ja.jsonl")}
    sources = {name: str(SIGHT / name) for name in ("ja", "see-en")}
    run = {**run, "base": str(SIGHT / "base"), "sources": sources, "task": task}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task))
    return World(folder=tmp_path)


def layers_json(world: World, *arguments: str | Path) -> dict[str, Any]:
    done = world.ok("layers", *arguments, "--items", "12", "--json")
    return json.loads(done.stdout)


def test_language_parts_are_compared_on_images(shelf: World) -> None:
    """The frame is `see-en`, though `ja` is the first source; so both models begin with its embeddings."""
    summary = layers_json(shelf, "run.yaml")
    assert summary["layers"] == {"ja": LAYERS, "see-en": LAYERS}
    assert summary["prompts"] == 12
    assert summary["tokens"] > 12 * 9, "each picture has nine tokens"
    first, last = (summary["places"].index(f"see-en.{k}") for k in (0, LAYERS))
    assert summary["cosine"][0][first] == pytest.approx(1)
    assert summary["cosine"][LAYERS][last] < 0.999
