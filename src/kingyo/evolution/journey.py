"""All of a run in its order: baselines, the searches, the winner of each, the test split once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kingyo.evolution.asynchronous import AsynchronousRun
from kingyo.evolution.objectives import Objectives, Scorer
from kingyo.evolution.picking import Picker
from kingyo.evolution.search import SearchRun, new_trial
from kingyo.evolution.set_measures import measure_sets
from kingyo.evolution.trial_evaluation import KnownScores, ScoringRequest, TrialEvaluator
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.evolution.types import BASELINES, MAIN, RACED, Event, Search, ignore_events
from kingyo.evolution.validation import ValidationRace
from kingyo.evolution.verdict import store_verdict
from kingyo.irt import Responses
from kingyo.recipe import Recipe
from kingyo.runners import Runner
from kingyo.screens import Screen
from kingyo.store import RunStore, StoredTrial
from kingyo.types import SPLITS, Evaluation, ItemScore, SetMeasure, Split, Trial


@dataclass(frozen=True, kw_only=True)
class Journey:
    """All that a run needs, as objects.

    Attributes:
        store: the run's database, open for writing, with the items of all splits.
        runner: evaluates recipes on items; it is closed at the end.
        baselines: name -> recipe; scored first, and compared with the winner at the end.
        searches: the main search, then its controls; or what comes before them.
        then: makes the searches that follow, of the recipe of the first one's winner; None: there are none.
        finalists: how many of a search's best on fit, no two of them neighbours, are scored on validation.
        reuse: whether trials of a recipe that was scored before copy its scores.
        known: scores of another run that baselines copy, too.
        set_measures: name of a task -> the measures of sets of answers that it has.
        notify: told of every step.
    """

    store: RunStore
    runner: Runner
    baselines: Mapping[str, Recipe]
    searches: Sequence[Search]
    finalists: int
    then: Callable[[Recipe], Sequence[Search]] | None = None
    reuse: bool = True
    known: KnownScores = field(default_factory=dict[tuple[str, Split], Mapping[str, ItemScore]])
    set_measures: Mapping[str, Sequence[SetMeasure]] = field(default_factory=dict[str, Sequence[SetMeasure]])
    notify: Callable[[Event], None] = ignore_events

    def run(self) -> None:
        """Do all that is not done yet. Safe to interrupt anywhere, and to call again.

        Raises:
            KingyoError: a baseline fails (then no comparison is possible), no trial succeeds, or the
                strategy does not ask for what the store says it asked for.
        """
        try:
            self._run(self.evaluator())
        finally:
            self.runner.close()

    def _run(self, evaluator: TrialEvaluator) -> None:
        baselines, searches = self.score_baselines(evaluator), list(self.searches)
        self._measure_sets(baselines)
        winners = self._winners(searches, evaluator)
        if self.then is not None:
            (first,) = winners.values()
            assert first is not None, "a first search without a winner is refused"
            searches += self.then(read_recipe(first))
            winners |= self._winners(searches[1:], evaluator)
        self._race(evaluator, baselines)
        for name, winner in winners.items():
            self._part(evaluator, name, "test", [winner] if winner is not None else [])
        self._part(evaluator, BASELINES, "test", baselines)
        self._measure_sets(self.store.trial(each.trial) for each in self.store.summaries("validation"))
        if self._objectives.by_set:
            own = [winners[each.name] for each in sorted(searches, key=lambda each: each.name != MAIN)]
            trained = {each.name for each in searches if each.learns_fit}
            store_verdict(self.store, self._objectives, [each for each in own if each is not None], trained)
        self.store.set_fact("status", "finished")

    @property
    def _objectives(self) -> Objectives:
        return self.searches[0].objectives

    def _measure_sets(self, trials: Iterable[StoredTrial]) -> None:
        measure_sets(self.store, self._objectives, self.set_measures, trials)

    def _race(self, evaluator: TrialEvaluator, baselines: Sequence[StoredTrial]) -> None:
        """Race the baselines on validation: the winner is compared with the best of them only."""
        first = self.searches[0]
        scorer = Scorer(first.objectives, self.store.items()["validation"])
        ValidationRace(store=self.store, evaluator=evaluator, scorer=scorer, notify=self.notify).run(
            BASELINES, baselines, first.seed
        )
        self.store.set_fact(RACED, True)

    def _winners(
        self, searches: Sequence[Search], evaluator: TrialEvaluator
    ) -> dict[str, StoredTrial | None]:
        """Run searches one after the other, then pick the winner of each."""
        runs = [
            (AsynchronousRun if search.is_asynchronous else SearchRun)(
                search, self.store, evaluator, self.notify
            )
            for search in searches
        ]
        for each in runs:
            each.run()
        picker = Picker(store=self.store, evaluator=evaluator, finalists=self.finalists, notify=self.notify)
        return {each.search.name: picker.pick(each) for each in runs}

    def evaluator(self) -> TrialEvaluator:
        """Make what scores trials of this run."""
        items: dict[Split, list[str]] = {
            split: [item.id for item in items] for split, items in self.store.items().items()
        }
        scorers: dict[Split, Scorer] = {}
        if self._objectives.by_set:
            scorers = {split: Scorer(self._objectives, self.store.items()[split]) for split in SPLITS}
        return TrialEvaluator(
            self.store, self.runner, items, reuse=self.reuse, known=self.known, scorers=scorers
        )

    def score_baselines(self, evaluator: TrialEvaluator) -> list[StoredTrial]:
        """Score the models to compare with on fit, see ``Search.screen_of_baselines``."""
        if BASELINES not in self.store.searches():
            self.store.add_search(BASELINES, {"what": "models to compare with"})
        stored = self.store.trials(BASELINES)
        if not stored:
            trials = [
                new_trial(Trial(number=number, genome=()), recipe, name)
                for number, (name, recipe) in enumerate(self.baselines.items())
            ]
            stored = self.store.add_trials(BASELINES, 0, trials)
        self._part(evaluator, BASELINES, "fit", stored, self._items_of_baselines(evaluator))
        return stored

    def _items_of_baselines(self, evaluator: TrialEvaluator) -> Sequence[str]:
        """The fit items that baselines meet, chosen by chance."""
        items, main = evaluator.items["fit"], self.searches[0]
        strata = Scorer(main.objectives, self.store.items()["fit"]).strata
        rounds = Screen(main.screen_of_baselines, main.seed, strata).rounds(Responses(items), [0], 0)
        return [items[column] for column in sorted(rounds.order)]

    def _part(
        self,
        evaluator: TrialEvaluator,
        name: str,
        split: Split,
        trials: Sequence[StoredTrial],
        items: Sequence[str] | None = None,
    ) -> list[Evaluation]:
        """Evaluate given trials on a split, or on some items of it."""
        self.notify(Event(kind="phase", search=name, split=split, total=len(trials)))
        found: dict[int, Evaluation] = {}
        scorer = Scorer(self.searches[0].objectives, self.store.items()[split])
        requests = [ScoringRequest(trial=trial, split=split, items=items) for trial in trials]
        for trial, measured in evaluator.measure_all(requests):
            found[trial.id] = measured.evaluation
            self.notify(
                Event(
                    kind="ended",
                    search=trial.search,
                    split=split,
                    done=len(found),
                    total=len(trials),
                    trial=trial,
                    evaluation=measured.evaluation,
                    value=scorer.value(measured.evaluation),
                    replayed=measured.replayed,
                )
            )
        return [found[trial.id] for trial in trials]
