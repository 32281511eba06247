"""All of a run in its order: baselines, the searches, validation picks, the test split once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kingyo.abilities import Responses
from kingyo.errors import KingyoError
from kingyo.evolve.asynchronous import AsynchronousRun
from kingyo.evolve.finalists import spread_out
from kingyo.evolve.front import read_front
from kingyo.evolve.measure import Measurer, Request
from kingyo.evolve.objectives import Aims, Judge, Means
from kingyo.evolve.recipes import read_recipe
from kingyo.evolve.search import AnySearchRun, SearchRun, new_trial
from kingyo.evolve.words import BASELINES, Event, Search, silent
from kingyo.recipe import Recipe
from kingyo.runners import Runner
from kingyo.screens import Screen, ScreenSettings
from kingyo.store import RunStore, StoredTrial
from kingyo.strategies.pareto import knee
from kingyo.types import Evaluation, Split, Trial


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
        notify: told of every step.
    """

    store: RunStore
    runner: Runner
    baselines: Mapping[str, Recipe]
    searches: Sequence[Search]
    finalists: int
    then: Callable[[Recipe], Sequence[Search]] | None = None
    reuse: bool = True
    notify: Callable[[Event], None] = silent

    def run(self) -> None:
        """Do all that is not done yet. Safe to interrupt anywhere, and to call again.

        Raises:
            KingyoError: a baseline fails (then no comparison is possible), no trial succeeds, or the
                strategy does not ask for what the store says it asked for.
        """
        try:
            self._run(self.measurer())
        finally:
            self.runner.close()

    def _run(self, measurer: Measurer) -> None:
        baselines = self.score_baselines(measurer)
        winners = self._winners(self.searches, measurer)
        if self.then is not None:
            (first,) = winners.values()
            assert first is not None, "a first search without a winner is refused"
            winners |= self._winners(self.then(read_recipe(first)), measurer)
        self._part(measurer, BASELINES, "validation", baselines)
        for name, winner in winners.items():
            self._part(measurer, name, "test", [winner] if winner is not None else [])
        self._part(measurer, BASELINES, "test", baselines)
        self.store.set_fact("status", "finished")

    def _winners(self, searches: Sequence[Search], measurer: Measurer) -> dict[str, StoredTrial | None]:
        """Run searches one after the other, then pick the winner of each."""
        runs = [
            (AsynchronousRun if search.is_asynchronous else SearchRun)(
                search, self.store, measurer, self.notify
            )
            for search in searches
        ]
        for each in runs:
            each.run()
        return {each.search.name: self._pick(each, measurer) for each in runs}

    def measurer(self) -> Measurer:
        """Make what scores trials of this run."""
        items: dict[Split, list[str]] = {
            split: [item.id for item in items] for split, items in self.store.items().items()
        }
        return Measurer(self.store, self.runner, items, reuse=self.reuse)

    def score_baselines(self, measurer: Measurer) -> list[StoredTrial]:
        """Score the models to compare with on fit, as many items as a candidate meets."""
        if BASELINES not in self.store.searches():
            self.store.add_search(BASELINES, {"what": "models to compare with"})
        stored = self.store.trials(BASELINES)
        if not stored:
            trials = [
                new_trial(Trial(number=number, genome=()), recipe, name)
                for number, (name, recipe) in enumerate(self.baselines.items())
            ]
            stored = self.store.add_trials(BASELINES, 0, trials)
        self._part(measurer, BASELINES, "fit", stored, self._items_of_baselines(measurer))
        return stored

    def _items_of_baselines(self, measurer: Measurer) -> Sequence[str]:
        """As many fit items as a candidate of the first search meets, chosen by chance."""
        items, main = measurer.items["fit"], self.searches[0]
        plain = ScreenSettings(items=main.screen.items, choose="random")
        strata = Judge(main.aims, self.store.items()["fit"]).strata
        rounds = Screen(plain, main.seed, strata).rounds(Responses(items), [0], 0)
        return [items[column] for column in sorted(rounds.order)]

    def _part(
        self,
        measurer: Measurer,
        name: str,
        split: Split,
        trials: Sequence[StoredTrial],
        items: Sequence[str] | None = None,
    ) -> list[Evaluation]:
        """Evaluate given trials on a split, or on some items of it."""
        self.notify(Event(kind="phase", search=name, split=split, total=len(trials)))
        found: dict[int, Evaluation] = {}
        judge = Judge(self.searches[0].aims, self.store.items()[split])
        requests = [Request(trial=trial, split=split, items=items) for trial in trials]
        for trial, measured in measurer.measure_all(requests):
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
                    value=judge.value(measured.evaluation),
                    replayed=measured.replayed,
                )
            )
        return [found[trial.id] for trial in trials]

    def _pick(self, run: AnySearchRun, measurer: Measurer) -> StoredTrial | None:
        """The winner: of the best on fit, the best on validation; fit, then age break ties.

        Where the search keeps a point, it wins unless another is clearly ahead, see ``Search.keep``.

        With several objectives, the knee of what the front's points reach on validation.

        None for a control that only failed. That is a finding, and no reason to lose the main search.
        """
        search = run.search
        chosen = self.store.winner(search.name)
        if chosen is not None:
            return chosen
        finalists = self._finalists(run)
        judged = self._part(measurer, search.name, "validation", finalists)
        judge = Judge(search.aims, self.store.items()["validation"])
        fine = [
            (judge.measured(evaluation), trial)
            for evaluation, trial in zip(judged, finalists, strict=True)
            if evaluation.failure is None
        ]
        if not fine and search.like:
            return None
        if not fine:
            raise KingyoError(
                f"search '{search.name}'",
                expected="at least one trial that can be scored on validation",
                received=f"failures only, the last: {judged[-1].failure}",
                remedy="Mend the cause, and start a new run.",
            )
        winner = _best(search.aims, fine)
        kept = next((trial for _, trial in fine if trial.asked.genome in search.keep), winner)
        if not search.aims.names and kept is not winner:
            measured = {each.id: found for each, found in zip(finalists, judged, strict=True)}
            winner = winner if judge.is_ahead(measured[winner.id], measured[kept.id]) else kept
        self.store.set_winner(search.name, winner.id)
        return winner

    def _finalists(self, run: AnySearchRun) -> list[StoredTrial]:
        ranked = run.ranked()
        if not ranked and not run.search.like:
            raise KingyoError(
                f"search '{run.search.name}'",
                expected="at least one trial that succeeds",
                received=_failures(self.store, run.search.name),
                remedy="Mend the cause, or give a larger budget, and start a new run.",
            )
        if run.search.aims.names:
            front = read_front(self.store, run.search.name).spread(self.finalists)
            return [point.trial for point in front]
        genomes = [trial.asked.genome for trial, _ in ranked]
        picked = spread_out(genomes, run.search.space.axes, self.finalists)
        kept = [index for index, genome in enumerate(genomes) if genome in run.search.keep]
        return [ranked[index][0] for index in sorted({*picked, *kept})]


def _best(aims: Aims, validated: Sequence[tuple[Means, StoredTrial]]) -> StoredTrial:
    """Of finalists with their means on validation, in the order of their ranks: the first of equals."""
    if aims.names:
        return validated[knee([aims.objectives(means, trial) for means, trial in validated])][1]
    return max(validated, key=lambda each: aims.value(each[0]))[1]


def _failures(store: RunStore, search: str) -> str:
    reasons = [each.failure for each in store.summaries("fit") if each.search == search and each.failure]
    if not reasons:
        return "no trials at all: the budget is smaller than one evaluation, or the strategy asked for none"
    return f"{len(reasons)} failures, the last: {reasons[-1]}"
