"""Runs in which a LoRA is trained."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.cli.conftest import World

ON = {"random": False, "grid": False, "trained": True}
OFF = {**ON, "trained": False}
EASY = {"name": "easy", "data": "items.jsonl", "grader": "number", "max_new_tokens": 3}
SPLITS = {"fit": 16, "validation": 12, "test": 12}


def easy(world: World, **changes: object) -> Path:
    """Write a run.yaml whose items all have the same answer: easy to learn, but merging does not help."""
    rows = [{"prompt": f"{n} + {(n * 7) % 40} =", "answer": "7"} for n in range(40)]
    (world.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: Mapping[str, object] = {
        "task": {**EASY, "splits": SPLITS},
        "budget": {"candidates": 12},
        "controls": ON,
        **changes,
    }
    return world.config(**settings)
