"""kingyo's search as a run does it: baselines, screen, warm start and a real run database."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kingyo.core.types import Genome
from kingyo.runs.config import parse_config
from kingyo.runs.run import Run
from kingyo.search.evolution import Event, Journey, fixed
from kingyo.search.evolution.picking import ranked_trials
from kingyo.search.evolution.search import run_search
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.runners import LocalRunner
from kingyo.store import RunStore
from searching.zoo import DEMO, Problem


def search(
    problem: Problem, budget: int, wanted: dict[str, object], report: Callable[[int, Genome], None]
) -> None:
    """Run a search of kingyo and report its answer after each generation.

    Args:
        problem: what is searched; the baselines' items count as spent.
        budget: item evaluations in all.
        wanted: the section ``search`` of a run.yaml.
        report: told of spent item evaluations and the point that the search would answer then.
    """
    data = problem.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    config = parse_config({**data, "search": wanted, "budget": {"item_evaluations": budget}}, "benchmark")
    opened = Run.open(config, DEMO)
    main = opened.searches[0]
    with tempfile.TemporaryDirectory() as folder, RunStore.create(Path(folder) / "run") as store:
        store.begin({"status": "running"}, problem.splits)
        journey = Journey(
            store=store,
            runner=LocalRunner(problem.evaluate),
            baselines=opened.baselines,
            stages=[fixed(main)],
            finalists=1,
        )
        evaluator = journey.evaluator
        journey.score_baselines()
        limits = main.limits.model_copy(update={"item_evaluations": budget - problem.spent})
        watch = Watch(problem, report)
        log = SearchLog(replace(main, limits=limits), store, evaluator.items["fit"], watch.notify)
        watch.log = log
        run_search(log, evaluator)
        watch.answer()


class Spending(Protocol):
    """What counts item evaluations."""

    @property
    def spent(self) -> int:
        """Item evaluations so far."""
        ...


class Watch:
    """Reports what a search would answer, once its strategy has learned of a generation.

    Args:
        problem: counts item evaluations.
        report: told of spent item evaluations and the point that the search would answer then.
    """

    def __init__(self, problem: Spending, report: Callable[[int, Genome], None]) -> None:
        self.log: SearchLog | None = None
        self._problem = problem
        self._report = report
        self._spent = 0
        self._batch = 0

    def notify(self, event: Event) -> None:
        """Answer as soon as the next generation begins: its first trial has ended, and was not told yet."""
        if event.kind == "told":
            self._spent = self._problem.spent
        elif event.kind == "ended" and event.trial is not None and event.trial.batch > self._batch:
            self._batch = event.trial.batch
            self.answer()

    def answer(self) -> None:
        """Report the trial with the best expected score."""
        assert self.log is not None, "it watches a search"
        ranked = ranked_trials(self.log)
        if ranked:
            self._report(self._spent, ranked[0].asked.genome)
