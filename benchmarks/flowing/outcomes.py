"""Whole runs of kingyo on the zoo: paths, weights, and both, at equal cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

import yaml

from flowing.models import DEMO, ZOO
from kingyo.core.io.yaml import read_yaml

Row = dict[str, object]
BUDGET = 2400
SETTINGS = {
    "three": ("ja", "math-en", "math-sym"),
    "two": ("ja", "math-sym"),
    "five": ("ja", "math-en", "math-sym", "poem", "sort"),
}
"""Which models take part: those that have all that is needed, one too few, and two too many."""
WAYS: dict[str, dict[str, object]] = {
    "paths": {"space": "dataflow", "dataflow": {"max_hops": 10}},
    "paths-once": {"space": "dataflow", "dataflow": {"max_hops": 10, "repetitions": 1}},
    "weights": {"space": "parameters"},
    "both": {"space": "hybrid", "dataflow": {"max_hops": 10}},
}


def run(setting: str, way: str, seed: int) -> Row:
    """Breed once, and return what is known of the winner and of what it is compared with, on test."""
    demo = read_yaml(DEMO / "run.yaml")
    task = cast("dict[str, object]", demo["task"])
    is_paths = WAYS[way]["space"] == "dataflow"
    merge = {"dtype": "float32"} if is_paths else demo["merge"]
    data = {
        **{key: demo[key] for key in ("batch_size", "threads")},
        **WAYS[way],
        "base": str(DEMO / str(demo["base"])),
        "sources": {name: ZOO[name] for name in SETTINGS[setting]},
        "task": {
            **task,
            "data": str(DEMO / str(task["data"])),
            "splits": {"fit": 120, "validation": 200, "test": 400, "seed": seed},
        },
        "merge": merge,
        "seed": seed,
        "budget": {"item_evaluations": BUDGET},
        "controls": {"random": is_paths, "grid": False},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.yaml"
        file.write_text(yaml.safe_dump(data, allow_unicode=True))
        command = [
            sys.executable,
            "-m",
            "kingyo",
            "evolve",
            str(file),
            "--run",
            str(Path(folder) / "run"),
            "--json",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            raise SystemExit(done.stderr or done.stdout)
        shown = json.loads(done.stdout)
    return {
        "setting": setting,
        "way": way,
        "seed": seed,
        "winner": _test(shown["winner"]),
        "hops": _hops(shown["winner"]["recipe"]),
        "others": {
            name: _test(each) for kind in ("baselines", "controls") for name, each in shown[kind].items()
        },
        "comparisons": shown["comparisons"],
        "seconds": shown["seconds"],
    }


def _test(entry: dict[str, dict[str, float]]) -> float:
    return entry["test"]["score"]


def _hops(recipe: dict[str, object]) -> int:
    path = cast("list[dict[str, object]]", recipe.get("path", []))
    ranges = [cast("list[int]", each.get("layer_range", [0, 1])) for each in path]
    return sum(end - first for first, end in ranges)
