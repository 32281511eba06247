"""Choices of sources of the zoo for its task, with few items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from kingyo.evolution import Event
from kingyo.run.run import Run
from kingyo.scout import Group, Rules, catalogue, find_places
from kingyo.scout.choice import ChoiceLimits, ChosenSources, WeightEvidence, choose, config_for, trials_in
from kingyo.scout.contenders import Contenders
from kingyo.scout.suggestion import write_run_yaml
from kingyo.scout.task_candidates import ScoutRequest, TaskCandidates
from kingyo.strategies.stepwise import Step

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
NAMES = ("ja", "math-en", "math-sym", "poem", "sort")
FIT = 28


def zoo_group(names: Sequence[str] = NAMES) -> Group:
    """Return the models of the zoo that fit its base."""
    places = find_places([str(ZOO / name) for name in ("base", *names)], (), 100, print)
    (group,) = catalogue(places, None, Rules(), lambda _: None).groups
    return group


def write_task(folder: Path, **changes: object) -> Path:
    """Write the task of the demo with few items; the last numbers must be right, in Japanese."""
    demo = yaml.safe_load((ROOT / "examples" / "demo" / "run.yaml").read_text(encoding="utf-8"))
    splits = {"fit": FIT, "validation": 16, "test": 16, "seed": 0}
    task = {**demo["task"], "data": str(ZOO / "tasks" / "ja-math.jsonl"), "splits": splits, **changes}
    path = folder / "ja-math.yaml"
    path.write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
    return path


def open_run(task: Path, names: Sequence[str] = NAMES, seed: int = 0) -> Run:
    return Run.open(config_for(zoo_group(names), {"task": {"file": str(task)}}, Path(), seed), Path())


@dataclass(kw_only=True)
class Counter:
    """Counts answers that are graded while it listens."""

    answers: int = 0

    def __call__(self, event: Event, steps: Sequence[Step]) -> None:
        if event.kind in ("ended", "more") and event.evaluation is not None and not event.replayed:
            self.answers += len(event.evaluation.scores)


def candidates_of(run: Run, out: Path, group: Group | None = None) -> TaskCandidates:
    """Return the candidates of a run whose sources are the members of a group, by default the zoo."""
    tried = Contenders(group=group or zoo_group(), left_out={})
    return TaskCandidates(request=ScoutRequest(where=(), out=out), tried=tried, run=run)


def choose_from_zoo(task: Path, out: Path, limits: ChoiceLimits | None = None) -> ChosenSources:
    """Choose sources, or go on; write the run.yaml."""
    run = open_run(task)
    choice = choose(run, trials_in(out), limits or ChoiceLimits(), WeightEvidence(), Counter())
    if choice.chosen:
        write_run_yaml(candidates_of(run, out), choice, task)
    return choice
