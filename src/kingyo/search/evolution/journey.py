"""Run all parts of a run in order: baselines, searches, the winner of each, and test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kingyo.core.types import SPLITS, ItemScore, SetMeasure, Split, Trial
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.picking import Picker
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
    """The parts of a run.

    Baselines are scored first, and compared with the winner at the end; stages get the winners of those
    before. ``finalists`` of a search's best on fit are scored on validation; none are neighbours. If
    ``reuse``, trials copy the scores of earlier trials with the same recipe, and baselines those ``known``
    from other runs. The store is open for writing and has the items of all splits; the runner is closed at
    the end.
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
        """Run all that is not done yet. Can be interrupted at any point, and called again."""
        try:
            self._run(self.evaluator())
        finally:
            self.runner.close()

    def _run(self, evaluator: TrialEvaluator) -> None:
        baselines = self.score_baselines(evaluator)
        self._measure_sets(baselines)
        searches: list[Search] = []
        winners: dict[str, StoredTrial | None] = {}
        for stage in self.stages:
            recipes = {name: read_recipe(trial) for name, trial in winners.items() if trial is not None}
            own = stage(recipes) if winners else self.first
            searches += own
            winners |= self._winners(own, evaluator)
        self._race(evaluator, baselines)
        for name, winner in winners.items():
            self._evaluate(evaluator, name, "test", [winner] if winner is not None else [])
        self._evaluate(evaluator, BASELINES, "test", baselines)
        self._measure_sets(self.store.trial(row.trial) for row in self.store.summaries("validation"))
        if self._objectives.by_set:
            self._store_verdict(searches, winners)
        self.store.set_fact("status", "finished")

    @cached_property
    def first(self) -> Sequence[Search]:
        return self.stages[0]({})

    @property
    def _objectives(self) -> Objectives:
        return self.first[0].objectives

    def _measure_sets(self, trials: Iterable[StoredTrial]) -> None:
        measure_sets(self.store, self._objectives, self.set_measures, trials)

    def _store_verdict(self, searches: Sequence[Search], winners: Mapping[str, StoredTrial | None]) -> None:
        main_first = sorted(searches, key=lambda search: search.name != MAIN)
        ordered = [winners[search.name] for search in main_first]
        trained = {search.name for search in searches if search.learns_fit}
        store_verdict(self.store, self._objectives, [each for each in ordered if each is not None], trained)

    def _race(self, evaluator: TrialEvaluator, baselines: Sequence[StoredTrial]) -> None:
        """Race the baselines on validation, because the winner is compared with the best of them only."""
        scorer = Scorer(self._objectives, self.store.items()["validation"])
        race = ValidationRace(store=self.store, evaluator=evaluator, scorer=scorer, notify=self.notify)
        race.run(BASELINES, baselines, self.first[0].seed)
        self.store.set_fact(RACED, True)

    def _winners(
        self, searches: Sequence[Search], evaluator: TrialEvaluator
    ) -> dict[str, StoredTrial | None]:
        items = evaluator.items["fit"]
        logs = [SearchLog(search, self.store, items, self.notify) for search in searches]
        for log in logs:
            run_search(log, evaluator)
        picker = Picker(store=self.store, evaluator=evaluator, finalists=self.finalists, notify=self.notify)
        return {log.search.name: picker.pick(log) for log in logs}

    def evaluator(self) -> TrialEvaluator:
        items: dict[Split, list[str]] = {
            split: [item.id for item in items] for split, items in self.store.items().items()
        }
        scorers: dict[Split, Scorer] = {}
        if self._objectives.need_answers:
            scorers = {split: Scorer(self._objectives, self.store.items()[split]) for split in SPLITS}
        evaluator = TrialEvaluator(
            self.store, self.runner, items, reuse=self.reuse, known=self.known, scorers=scorers
        )
        evaluator.notify = self.notify
        return evaluator

    def score_baselines(self, evaluator: TrialEvaluator) -> list[StoredTrial]:
        """Score the baselines on fit, see ``Search.screen_of_baselines``."""
        if BASELINES not in self.store.searches():
            self.store.add_search(BASELINES, {"what": "models to compare with"})
        stored = self.store.trials(BASELINES)
        if not stored:
            trials = [
                new_trial(Trial(number=number, genome=()), recipe, name)
                for number, (name, recipe) in enumerate(self.baselines.items())
            ]
            stored = self.store.add_trials(BASELINES, 0, trials)
        self._evaluate(evaluator, BASELINES, "fit", stored, self._items_of_baselines(evaluator))
        return stored

    def _items_of_baselines(self, evaluator: TrialEvaluator) -> Sequence[str]:
        items, main = evaluator.items["fit"], self.first[0]
        strata = Scorer(main.objectives, self.store.items()["fit"]).strata
        rounds = Screen(main.screen_of_baselines, main.seed, strata).rounds(Responses(items), [0], 0)
        return [items[column] for column in sorted(rounds.order)]

    def _evaluate(
        self,
        evaluator: TrialEvaluator,
        name: str,
        split: Split,
        trials: Sequence[StoredTrial],
        items: Sequence[str] | None = None,
    ) -> None:
        self.notify(Event(kind="phase", search=name, split=split, total=len(trials)))
        scorer = Scorer(self._objectives, self.store.items()[split])
        for done, (trial, evaluation) in enumerate(evaluator.evaluate_all(trials, split, items), 1):
            self.notify(
                Event(
                    kind="ended",
                    search=trial.search,
                    split=split,
                    done=done,
                    total=len(trials),
                    trial=trial,
                    evaluation=evaluation,
                    value=scorer.value(evaluation),
                    replayed=evaluation.replayed,
                )
            )
