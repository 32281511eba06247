"""Test whether similar streams predict which paths work, with random paths of the zoo.

    python benchmarks/jumps.py                       (60 paths of each kind, 40 items)
    python benchmarks/jumps.py --paths 20 --json out.json
    python benchmarks/jumps.py --again out.json      (the same tables, without running a path)

For each path: how plausible its jumps are (the mean similarity of their ends), simple predictors
without measurement, and two outcomes: the mean log-likelihood of the right answers, and the share of right
answers. Rank correlations (Spearman) with 95% intervals, by a bootstrap over the paths.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kingyo.checkpoints import open_checkpoint
from kingyo.compare.similarity import Layer, LayerSimilarity, Measure
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel, PathModels
from kingyo.recipe import Hop
from kingyo.run.config import RunConfig, parse_config
from kingyo.run.layer_similarity import measure_sources
from kingyo.space import DataflowSpace
from kingyo.tasks import build_tasks, load_splits
from kingyo.types import Task

ZOO = Path(__file__).parents[1] / "zoo"
SOURCES = ("ja", "math-en", "math-sym")
FRAME = "ja"
RESAMPLES = 2000
HEAD = "| more than the depth step | more than the rule of thumb |\n|---|---|---|---|"
RULE = "rule of thumb"
"""A predictor without measurement: the mean depth step, plus 1 for each end out of place."""


def config(n_items: int) -> dict[str, Any]:
    return {
        "name": "jumps",
        "sources": {name: name for name in SOURCES},
        "space": "dataflow",
        "dataflow": {"frame": FRAME},
        "task": {
            "name": "ja-math",
            "data": "tasks/ja-math.jsonl",
            "prompt": "Q: {prompt}\nA:",
            "grader": ["number", {"language": "ja"}],
            "max_new_tokens": 24,
            "splits": {"fit": n_items, "validation": 40, "test": 40},
        },
        "search": {"strategy": "ga"},
        "budget": {"candidates": 1},
        "batch_size": 256,
        "threads": 1,
    }


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A path and its outcomes."""

    path: Sequence[Layer]
    right: float
    likelihood: float


def uniform(rng: random.Random, n_layers: Mapping[str, int]) -> list[Layer]:
    """Draw eight hops, each any layer."""
    layers = [(name, k) for name, n in n_layers.items() for k in range(n)]
    return [rng.choice(layers) for _ in range(8)]


def in_slots(rng: random.Random, n_layers: Mapping[str, int], hops: tuple[int, int] = (8, 8)) -> list[Layer]:
    """Draw slots by depth, repeated twice, as the space does; ``hops`` limits the number of active slots."""
    space = DataflowSpace(sources={name: name for name in n_layers}, n_layers=n_layers, frame=FRAME)
    chosen = sorted(rng.sample(range(len(space.slots)), rng.randint(*hops)))
    return [space.slots[i] for i in chosen]


def of_any_length(rng: random.Random, n_layers: Mapping[str, int]) -> list[Layer]:
    return in_slots(rng, n_layers, (3, 12))


KINDS: Mapping[str, Callable[[random.Random, Mapping[str, int]], list[Layer]]] = {
    "8 hops, any layers": uniform,
    "8 hops, slots by depth": in_slots,
    "3 to 12 hops, slots by depth": of_any_length,
}


def plausibility(found: LayerSimilarity, path: Sequence[Layer], measure: Measure) -> float:
    """Return the mean plausibility of a path's jumps."""
    jumps = [found.jump(one, other, measure) for one, other in pairwise(path)]
    return float(np.mean([min(1.0, max(0.0, each)) for each in jumps]))


def path_plausibility(found: LayerSimilarity, path: Sequence[Layer], measure: Measure) -> float:
    """Return the mean plausibility of a path's jumps and of its ends in the frame."""
    left = [found.place(FRAME, 0), *(found.place(name, k + 1) for name, k in path)]
    right = [*(found.place(name, k) for name, k in path), found.place(FRAME, found.n_layers[FRAME])]
    values = np.nan_to_num(found.of(measure)[left, right], nan=0.0)
    return float(np.clip(values, 0.0, 1.0).mean())


def depth_steps(found: LayerSimilarity, path: Sequence[Layer]) -> float:
    """Return the mean absolute difference of relative depth between the two ends of a jump."""
    pairs = pairwise(path)
    return float(
        np.mean([abs((a[1] + 1) / found.n_layers[a[0]] - b[1] / found.n_layers[b[0]]) for a, b in pairs])
    )


def with_depth_ends(found: LayerSimilarity, path: Sequence[Layer]) -> float:
    n = len(path) - 1
    first, last = path[0], path[-1]
    ends = first[1] / found.n_layers[first[0]] + 1 - (last[1] + 1) / found.n_layers[last[0]]
    return (n * depth_steps(found, path) + ends) / (n + 2)


def ends_out(found: LayerSimilarity, path: Sequence[Layer]) -> float:
    """Return the number of ends that are not a first or last layer: 0, 1 or 2."""
    return float(path[0][1] != 0) + float(path[-1][1] != found.n_layers[path[-1][0]] - 1)


def rule_of_thumb(found: LayerSimilarity, path: Sequence[Layer]) -> float:
    """Return the predictor without streams; larger is better, as for the others."""
    n = len(path) - 1
    return -(n * depth_steps(found, path) + ends_out(found, path)) / (n + 2)


def predictors(found: LayerSimilarity, path: Sequence[Layer]) -> dict[str, float]:
    """Return the predictors of a path; larger should be better."""
    return {
        "plausibility by cosine": plausibility(found, path, "cosine"),
        "plausibility by CKA": plausibility(found, path, "cka"),
        "by cosine, with both ends": path_plausibility(found, path, "cosine"),
        "by CKA, with both ends": path_plausibility(found, path, "cka"),
        "−mean depth step": -depth_steps(found, path),
        "−mean depth step, with both ends": -with_depth_ends(found, path),
        "ends in place": 2.0 - ends_out(found, path),
        RULE: rule_of_thumb(found, path),
        "−hops": -float(len(path)),
        "share of ja": sum(name == FRAME for name, _ in path) / len(path),
    }


def score(models: PathModels, task: Task, paths: Sequence[Sequence[Layer]]) -> list[Tried]:
    items = task.items("fit")
    right = [(each.prompt, _solution(each.fields["steps"], each.answer)) for each in items]
    found: list[Tried] = []
    for path in paths:
        model = models.follow([Hop(model=name, layer=k) for name, k in path], FRAME)
        scores = [each.score for each in task.score(model, items)]
        found.append(
            Tried(
                path=path,
                right=float(np.mean(scores)),
                likelihood=float(np.mean(model.log_likelihood(right))),
            )
        )
    return found


def _solution(steps: str, answer: str) -> str:
    """Return the solution in the form that the zoo's models were trained on."""
    return "\n".join([*steps.split("; "), f"答えは{answer}"])


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Return Spearman's rank correlation; ties share a rank; NaN if one side is constant."""
    a, b = (_ranks(np.asarray(each)) for each in (x, y))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    values = values.round(12)
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def resampled(columns: Mapping[str, Sequence[float]], y: Sequence[float]) -> dict[str, np.ndarray]:
    """Return bootstrapped rank correlations of each column with y, on the same draws of paths."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(y), size=(RESAMPLES, len(y)))
    target = np.asarray(y)
    return {
        name: np.array([spearman(np.asarray(x)[draw], target[draw]) for draw in draws])
        for name, x in columns.items()
    }


def interval(values: np.ndarray) -> list[float]:
    return [float(each) for each in np.nanpercentile(values, [2.5, 97.5])]


def report(found: LayerSimilarity, tried: Sequence[Tried], outcome: str) -> dict[str, Any]:
    """Return correlations of all predictors with an outcome, and leads over depth and the rule of thumb."""
    rows = [predictors(found, each.path) for each in tried]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    y = [getattr(each, outcome) for each in tried]
    boots = resampled(columns, y)
    correlations: dict[str, Any] = {}
    for name, x in columns.items():
        rho = spearman(x, y)
        if np.isnan(rho):
            correlations[name] = None
            continue
        control = "−mean depth step, with both ends" if "ends" in name else "−mean depth step"
        correlations[name] = {
            "rho": rho,
            "interval": interval(boots[name]),
            "over_depth": rho - spearman(columns[control], y),
            "over_depth_interval": interval(boots[name] - boots[control]),
            "over_rule": rho - spearman(columns[RULE], y),
            "over_rule_interval": interval(boots[name] - boots[RULE]),
        }
    return correlations


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paths", type=int, default=60, help="of each kind")
    parser.add_argument("--items", type=int, default=40, help="of the fit split")
    parser.add_argument("--seed", type=int, default=0, help="of the paths")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), help="of paths")
    parser.add_argument("--again", type=Path, help="print tables of a --json file without running paths")
    parser.add_argument("--json", type=Path, help="also write all numbers here")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    parsed = parse_config(config(asked.items), "jumps")
    found = measure_sources(parsed, ZOO).likeness
    print(f"{found.n_tokens} tokens of {asked.items} prompts.")
    tried = read(asked.again) if asked.again else run(parsed, found.n_layers, asked)
    results: dict[str, Any] = {}
    for kind, paths in tried.items():
        right, likely = [each.right for each in paths], [each.likelihood for each in paths]
        results[kind] = {"paths": [each.__dict__ for each in paths]}
        print(f"\n{kind}, {len(paths)} paths: right {min(right):.3f} to {max(right):.3f}, above 0 for")
        print(f"{sum(each > 0 for each in right)}; log-likelihood {min(likely):.1f} to {max(likely):.1f}")
        for outcome in ("likelihood", "right"):
            results[kind][outcome] = rows = report(found, paths, outcome)
            print(f"\n| {outcome}, n={len(paths)} | Spearman {HEAD}")
            for name, each in rows.items():
                print(f"| {name} | {_cells(each)} |")
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, ensure_ascii=False, indent=1))


def run(parsed: RunConfig, n_layers: Mapping[str, int], asked: argparse.Namespace) -> dict[str, list[Tried]]:
    """Draw and score paths of each kind."""
    task = build_tasks(parsed.specs, load_splits(parsed.specs, ZOO).splits, ZOO)
    live = {
        name: LiveModel.load(open_checkpoint(name, ZOO).path, LoadOptions(batch_size=256)) for name in SOURCES
    }
    models, drawn = PathModels(live), dict[str, list[Tried]]()
    for kind in asked.kinds:
        rng = random.Random(asked.seed)
        drawn[kind] = score(models, task, [KINDS[kind](rng, n_layers) for _ in range(asked.paths)])
    return drawn


def read(file: Path) -> dict[str, list[Tried]]:
    """Return the paths of an earlier run with their scores."""
    stored = json.loads(file.read_text())
    return {
        kind: [
            Tried(
                path=[(name, k) for name, k in each["path"]],
                right=each["right"],
                likelihood=each["likelihood"],
            )
            for each in of_kind["paths"]
        ]
        for kind, of_kind in stored.items()
    }


def _cells(each: dict[str, Any] | None) -> str:
    if each is None:
        return "constant | | "
    spans = (
        (each["rho"], each["interval"]),
        (each["over_depth"], each["over_depth_interval"]),
        (each["over_rule"], each["over_rule_interval"]),
    )
    return " | ".join(f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" for value, (low, high) in spans)


if __name__ == "__main__":
    main()
