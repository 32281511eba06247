"""Run all parts of a run in order: baselines, searches, the winner of each, and test."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from kingyo.core.types import SPLITS, ItemScore, SetMeasure, Split, Trial
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.picking import pick_winner
from kingyo.search.evolution.race import ValidationRace
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import Screen
from kingyo.search.evolution.search import run_search
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.evolution.set_measures import measure_sets, store_verdict
from kingyo.search.evolution.trial_evaluation import KnownScores, TrialEvaluator
from kingyo.search.evolution.trial_recipes import new_trial, read_recipe
from kingyo.search.evolution.types import BASELINES, MAIN, RACED, Event, Search, ignore_events
from kingyo.search.runners import Runner
from kingyo.stats.irt import Responses
from kingyo.store import RunStore, StoredTrial

Stage = Callable[[Mapping[str, Recipe]], Sequence[Search]]
"""A part of a run: given the recipe of each earlier search's winner, returns searches, the main one first."""


def fixed(*searches: Search) -> Stage:
    return lambda _: searches


@dataclass(frozen=True, kw_only=True)
class Journey:
    """The parts of a run. Stages get the winners of those before; the runner is closed at the end.

    ``finalists`` of a search's best on fit are scored on validation. If ``reuse``, trials copy the scores of
    earlier trials with the same recipe, and baselines those ``known`` from other runs.
    """

    store: RunStore
    runner: Runner
    baselines: Mapping[str, Recipe]
    stages: Sequence[Stage]
    finalists: int
    reuse: bool = True
    known: KnownScores = field(default_factory=dict[tuple[str, Split], Mapping[str, ItemScore]])
    set_measures: Mapping[str, Sequence[SetMeasure]] = field(default_factory=dict[str, Sequence[SetMeasure]])
    notify: Callable[[Event], None] = ignore_events

    def run(self) -> None:
        """Run all that is not done yet. Can be interrupted at any point; a new journey goes on."""
        try:
            self._run()
        finally:
            self.runner.close()

    def _run(self) -> None:
        store, objectives = self.store, self._objectives
        baselines = self.score_baselines()
        measure_sets(store, objectives, self.set_measures, baselines)
        searches: list[Search] = []
        winners: dict[str, StoredTrial | None] = {}
        for stage in self.stages:
            recipes = {name: read_recipe(trial) for name, trial in winners.items() if trial is not None}
            own = stage(recipes) if winners else self.first
            searches += own
            winners |= self._winners(own)
        # the winner is compared with the best of the baselines only
        scorer = Scorer(objectives, store.items()["validation"])
        ValidationRace(store, self.evaluator, scorer, baselines, self.first[0].seed).run(BASELINES)
        store.set_fact(RACED, True)
        for name, winner in winners.items():
            self._evaluate(name, "test", [winner] if winner is not None else [])
        self._evaluate(BASELINES, "test", baselines)
        validated = (store.trial(row.trial) for row in store.summaries("validation"))
        measure_sets(store, objectives, self.set_measures, validated)
        if objectives.by_set:
            searches.sort(key=lambda search: search.name != MAIN)
            ordered = [winner for search in searches if (winner := winners[search.name]) is not None]
            trained = {search.name for search in searches if search.learns_fit}
            store_verdict(store, objectives, ordered, trained)
        store.set_fact("status", "finished")

    @cached_property
    def first(self) -> Sequence[Search]:
        return self.stages[0]({})

    @property
    def _objectives(self) -> Objectives:
        return self.first[0].objectives

    def _winners(self, searches: Sequence[Search]) -> dict[str, StoredTrial | None]:
        items = self.evaluator.items["fit"]
        logs = [SearchLog(search, self.store, items, self.notify) for search in searches]
        for log in logs:
            run_search(log, self.evaluator)
        return {log.search.name: pick_winner(log, self.evaluator, self.finalists) for log in logs}

    @cached_property
    def evaluator(self) -> TrialEvaluator:
        items = self.store.items()
        evaluator = TrialEvaluator(
            self.store,
            self.runner,
            {split: [item.id for item in own] for split, own in items.items()},
            reuse=self.reuse,
            known=self.known,
            scorers={split: Scorer(self._objectives, items[split]) for split in SPLITS}
            if self._objectives.need_answers
            else {},
        )
        evaluator.notify = self.notify
        return evaluator

    def score_baselines(self) -> list[StoredTrial]:
        if BASELINES not in self.store.searches():
            self.store.add_search(BASELINES, {"what": "models to compare with"})
        stored = self.store.trials(BASELINES)
        if not stored:
            trials = [
                new_trial(Trial(number=number, genome=()), recipe, name)
                for number, (name, recipe) in enumerate(self.baselines.items())
            ]
            stored = self.store.add_trials(BASELINES, 0, trials)
        items, main = self.evaluator.items["fit"], self.first[0]
        strata = Scorer(main.objectives, self.store.items()["fit"]).strata
        columns = Screen(main.screen_of_baselines, main.seed, strata).columns(Responses(items), 0)
        self._evaluate(BASELINES, "fit", stored, [items[column] for column in sorted(columns)])
        return stored

    def _evaluate(
        self, name: str, split: Split, trials: Sequence[StoredTrial], items: Sequence[str] | None = None
    ) -> None:
        self.notify(Event(kind="phase", search=name, split=split, total=len(trials)))
        scorer = Scorer(self._objectives, self.store.items()[split])
        for done, (trial, evaluation) in enumerate(self.evaluator.evaluate_all(trials, split, items), 1):
            event = Event.of(trial, split, evaluation, done, len(trials))
            self.notify(replace(event, value=scorer.value(evaluation)))
