"""A small run that draws: tiny random pipelines, and a random judge."""

import json
from pathlib import Path

import yaml

from tests.tiny_judges import judge
from tests.tiny_pipelines import stable_diffusion

TASK = {
    "kind": "draw",
    "data": "prompts.jsonl",
    "seed": "seed",
    "steps": 2,
    "height": 32,
    "width": 32,
    "scheduler": {"class": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"},
    "guidance_scale": 2.0,
    "grader": {"classifier": {"model": "judge", "label": "motif", "soft": True}},
    "splits": {"fit": 4, "validation": 3, "test": 5},
}
CONFIG = {
    "base": "base",
    "sources": {"a": "a", "b": "b"},
    "task": TASK,
    "merge": {"method": "task_arithmetic", "parameters": {"weight": {"from": 0, "to": 1}}},
    "search": {"strategy": "random"},
    "budget": {"candidates": 3},
    "batch_size": 3,
}


def write_models(folder: Path) -> Path:
    """Write models, judge, prompts and run.yaml into a folder, and return it."""
    for seed, name in enumerate(("base", "a", "b")):
        stable_diffusion(folder / name, seed)
    judge(folder / "judge", ["cat", "dog"])
    rows = [
        {"prompt": f"a {motif} {n}", "motif": motif, "seed": n} for n in range(6) for motif in ("cat", "dog")
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "run.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder
