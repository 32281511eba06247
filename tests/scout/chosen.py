"""Runs that choose among the models of the zoo for its task, with few items."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from kingyo.scout import Catalogue, catalogue, find_places
from kingyo.scout.for_task import ScoutRequest, TaskCandidates

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
NAMES = ("ja", "math-en", "math-sym", "poem", "sort")
USEFUL = {"ja", "math-en", "math-sym"}
FIT = 28


def models(names: Sequence[str] = NAMES) -> list[str]:
    return [str(ZOO / name) for name in ("base", *names)]


def read(where: Sequence[str]) -> Catalogue:
    return catalogue(find_places(where))


def write_task(folder: Path, **changes: object) -> Path:
    """Write the task of the demo with few items; the last numbers must be right, in Japanese."""
    demo = yaml.safe_load((ROOT / "examples" / "demo" / "run.yaml").read_text(encoding="utf-8"))
    splits = {"fit": FIT, "validation": 16, "test": 16, "seed": 0}
    task = {**demo["task"], "data": str(ZOO / "tasks" / "ja-math.jsonl"), "splits": splits, **changes}
    path = folder / "ja-math.yaml"
    path.write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
    return path


def run_yaml(folder: Path, scout: object = None, **changes: object) -> dict[str, object]:
    """Return a run.yaml whose sources are chosen, and write its task."""
    task = {} if "task" in changes else {"task": write_task(folder).name}
    asked = {"scout": models() if scout is None else scout}
    budget = {"candidates": 4}
    return {"name": "run", "sources": asked, **task, "budget": budget, "threads": 1, **changes}


def candidates_of(data: Mapping[str, object], folder: Path, out: Path) -> TaskCandidates:
    """Return the candidates of a run.yaml, whose weights are measured."""
    request = ScoutRequest.of(data, folder, out)
    found = request.read(lambda _what, _done, _total: None)
    return TaskCandidates.open(request.measure(found, lambda _what, _done, _total: None), request)
