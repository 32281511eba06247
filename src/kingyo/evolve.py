"""The journey of a run: baselines, searches, validation, and the test split once.

The one loop of the project. It knows no algorithm by name and no model: it moves trials between a strategy,
an evaluator and the store. The store's log is the state: a run that is resumed replays it into a fresh
strategy, checks that it asks for the stored genomes, and goes on where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from kingyo.errors import KingyoError
from kingyo.recipe import Recipe
from kingyo.store import NewTrial, RunStore, StoredTrial
from kingyo.types import Axis, Evaluation, Genome, Outcome, Split, Strategy, Trial

BASELINES = "baselines"
MAIN = "main"
MOST_IDLE = 20

Evaluate = Callable[[Recipe, Split], Evaluation]


class Space(Protocol):
    """What the loop needs of a space."""

    @property
    def axes(self) -> Sequence[Axis]:
        """Its coordinates."""
        ...

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a search may spend; None is no bound. The first bound that is reached ends it."""

    candidates: int | None = None
    item_evaluations: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A strategy on a space with limits; ``like`` names a search whose number of candidates is its limit."""

    name: str
    space: Space
    strategy: Strategy
    limits: Limits
    like: str | None = None
    description: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, for whoever shows progress.

    Attributes:
        kind: ``phase`` when a part of the run begins, ``ended`` when a trial was evaluated (or copied).
        search: the search that it belongs to.
        split: what is being evaluated.
        done, total: trials done in this part, and how many there will be (None when time decides).
        trial, evaluation: of ``ended``.
        replayed: it was read from the store; nothing was run.
    """

    kind: Literal["phase", "ended"]
    search: str
    split: Split
    done: int = 0
    total: int | None = None
    trial: StoredTrial | None = None
    evaluation: Evaluation | None = None
    replayed: bool = False


def silent(_: Event) -> None:
    """An observer that looks away."""


@dataclass(frozen=True, kw_only=True)
class Journey:
    """All that a run needs, as objects.

    Attributes:
        store: the run's database, open for writing.
        evaluate: recipe and split -> evaluation; crashes are values.
        baselines: name -> recipe; scored first, and compared with the winner at the end.
        searches: the main search, then its controls.
        finalists: how many of a search's best on fit are scored on validation.
        n_items: items per split, to count the budget.
        notify: told of every step.
    """

    store: RunStore
    evaluate: Evaluate
    baselines: Mapping[str, Recipe]
    searches: Sequence[Search]
    finalists: int
    n_items: Mapping[Split, int]
    notify: Callable[[Event], None] = silent

    def run(self) -> None:
        """Do all that is not done yet. Safe to interrupt anywhere, and to call again.

        Raises:
            KingyoError: a baseline fails (then no comparison is possible), no trial succeeds, or the
                strategy does not ask for what the store says it asked for.
        """
        baselines = self._score_baselines()
        for search in self.searches:
            self._search(search)
        winners = [self._pick(search) for search in self.searches]
        self._part(BASELINES, "validation", baselines)
        for search, winner in zip(self.searches, winners, strict=True):
            self._part(search.name, "test", [winner] if winner is not None else [])
        self._part(BASELINES, "test", baselines)
        self.store.set_fact("status", "finished")

    def _score_baselines(self) -> list[StoredTrial]:
        stored = self._declare(BASELINES, {"what": "models to compare with"})
        if not stored:
            trials = [
                _new(Trial(number=number, genome=()), recipe, name)
                for number, (name, recipe) in enumerate(self.baselines.items())
            ]
            stored = self.store.add_trials(BASELINES, 0, trials)
        self._part(BASELINES, "fit", stored)
        return stored

    def _search(self, search: Search) -> None:
        stored = _by_batch(self._declare(search.name, search.description))
        limits = self._limits(search)
        total = _total(limits, self.n_items["fit"])
        self.notify(Event(kind="phase", search=search.name, split="fit", total=total))
        spent = _Spent()
        batch = 0
        while True:
            logged = stored.get(batch)
            n = len(logged) if logged else spent.room(limits, search.strategy.batch, self.n_items["fit"])
            asked = search.strategy.ask(n) if n > 0 else []
            if not asked:
                return
            trials = logged or self._log(search, batch, asked)
            _check_replay(search.name, asked, trials)
            before = spent.items
            outcomes = [self._outcome(trial, spent, total) for trial in trials]
            spent.idle = 0 if spent.items > before else spent.idle + 1
            search.strategy.tell(outcomes)
            batch += 1

    def _declare(self, name: str, description: Mapping[str, object]) -> list[StoredTrial]:
        if name not in self.store.searches():
            self.store.add_search(name, description)
        return self.store.trials(name)

    def _limits(self, search: Search) -> Limits:
        if search.like is None:
            return search.limits
        return Limits(candidates=len(self.store.trials(search.like)))

    def _log(self, search: Search, batch: int, asked: Sequence[Trial]) -> list[StoredTrial]:
        new = [_new(trial, search.space.decode(trial.genome)) for trial in asked]
        return self.store.add_trials(search.name, batch, new)

    def _outcome(self, trial: StoredTrial, spent: _Spent, total: int | None) -> Outcome:
        evaluation = self._evaluate(trial, "fit", done=spent.trials + 1, total=total)
        spent.add(evaluation, self.n_items["fit"])
        if evaluation.failure is not None:
            return Outcome(trial=trial.asked, failure=evaluation.failure)
        return Outcome(trial=trial.asked, scores=evaluation.scores)

    def _part(self, name: str, split: Split, trials: Sequence[StoredTrial]) -> list[Evaluation]:
        """Evaluate given trials on a split."""
        self.notify(Event(kind="phase", search=name, split=split, total=len(trials)))
        found: list[Evaluation] = []
        for trial in trials:
            found.append(self._evaluate(trial, split, done=len(found) + 1, total=len(trials)))
        return found

    def _evaluate(self, trial: StoredTrial, split: Split, *, done: int, total: int | None) -> Evaluation:
        """Return the stored evaluation, a copy of the same recipe's, or a new one; store what is new."""
        evaluation = self.store.evaluation(trial.id, split)
        replayed = evaluation is not None
        if evaluation is None:
            evaluation = self._fresh(trial, split)
            if trial.name is not None and evaluation.failure is not None:
                raise _baseline_failed(trial.name, evaluation.failure)
            self.store.record(trial.id, split, evaluation)
        self.notify(
            Event(
                kind="ended",
                search=trial.search,
                split=split,
                done=done,
                total=total,
                trial=trial,
                evaluation=evaluation,
                replayed=replayed,
            )
        )
        return evaluation

    def _fresh(self, trial: StoredTrial, split: Split) -> Evaluation:
        twin = self.store.same_recipe(trial.recipe_hash, split)
        known = None if twin is None else self.store.evaluation(twin, split)
        if known is not None:
            return replace(known, build_seconds=0.0, score_seconds=0.0, copied_from=twin)
        return self.evaluate(Recipe.from_dict(json.loads(trial.recipe)), split)

    def _pick(self, search: Search) -> StoredTrial | None:
        """The winner: of the best on fit, the best on validation; fit, then age break ties.

        None for a control that only failed. That is a finding, and no reason to lose the main search.
        """
        chosen = self.store.winner(search.name)
        if chosen is not None:
            return chosen
        finalists = self._finalists(search.name)
        judged = self._part(search.name, "validation", [trial for trial, _ in finalists])
        ranked = [
            (evaluation.mean, fit, -trial.id, trial)
            for evaluation, (trial, fit) in zip(judged, finalists, strict=True)
            if evaluation.mean is not None
        ]
        if not ranked and search.name != MAIN:
            return None
        if not ranked:
            raise KingyoError(
                f"search '{search.name}'",
                expected="at least one trial that can be scored on validation",
                received=f"failures only, the last: {judged[-1].failure}",
                remedy="Mend the cause, and start a new run.",
            )
        winner = max(ranked, key=lambda each: each[:3])[3]
        self.store.set_winner(search.name, winner.id)
        return winner

    def _finalists(self, search: str) -> list[tuple[StoredTrial, float]]:
        means = {each.trial: each.mean for each in self.store.summaries("fit")}
        best: dict[str, tuple[StoredTrial, float]] = {}
        for trial in self.store.trials(search):
            fit = means.get(trial.id)
            if fit is not None:
                best.setdefault(trial.recipe_hash, (trial, fit))
        if not best and search == MAIN:
            raise KingyoError(
                f"search '{search}'",
                expected="at least one trial that succeeds",
                received=_failures(self.store, search),
                remedy="Mend the cause, or give a larger budget, and start a new run.",
            )
        return sorted(best.values(), key=lambda each: (-each[1], each[0].id))[: self.finalists]


@dataclass(kw_only=True)
class _Spent:
    """What a search has spent so far.

    A copied evaluation costs a candidate but no item evaluation; a failed one counts as if it had been run
    in full. ``idle`` counts batches in a row that brought copies only: a search that has converged ends.
    """

    trials: int = 0
    items: int = 0
    seconds: float = 0.0
    idle: int = 0

    def add(self, evaluation: Evaluation, n_items: int) -> None:
        self.trials += 1
        self.seconds += evaluation.build_seconds + evaluation.score_seconds
        if evaluation.copied_from is None:
            self.items += n_items

    def room(self, limits: Limits, batch: int, n_items: int) -> int:
        """How many trials may be asked for next: a batch, or what the limits leave of it."""
        room = batch if self.idle < MOST_IDLE else 0
        if limits.candidates is not None:
            room = min(room, limits.candidates - self.trials)
        if limits.item_evaluations is not None:
            room = min(room, (limits.item_evaluations - self.items) // n_items)
        if limits.seconds is not None:
            left = limits.seconds - self.seconds
            each = self.seconds / self.trials if self.trials else 0.0
            room = min(room, 0 if left <= 0 else room if each == 0 else max(1, int(left / each)))
        return room


def _new(trial: Trial, recipe: Recipe, name: str | None = None) -> NewTrial:
    text = json.dumps(recipe.to_dict(), ensure_ascii=False)
    return NewTrial(asked=trial, recipe=text, recipe_hash=recipe.hash, name=name)


def _by_batch(trials: Sequence[StoredTrial]) -> dict[int, list[StoredTrial]]:
    batches: dict[int, list[StoredTrial]] = {}
    for trial in trials:
        batches.setdefault(trial.batch, []).append(trial)
    return batches


def _total(limits: Limits, n_items: int) -> int | None:
    bounds = [limits.candidates]
    if limits.item_evaluations is not None:
        bounds.append(limits.item_evaluations // n_items)
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def _check_replay(search: str, asked: Sequence[Trial], stored: Sequence[StoredTrial]) -> None:
    """The law of resuming: a fresh strategy, told the stored outcomes, asks for the stored trials."""
    if list(asked) != [each.asked for each in stored]:
        raise KingyoError(
            f"search '{search}'",
            expected=f"the strategy to ask for the stored batch {stored[0].batch} again",
            received="other genomes",
            remedy="Resume with the versions of kingyo and its libraries that began the run.",
        )


def _baseline_failed(name: str, reason: str) -> KingyoError:
    """Without its baselines a run can compare nothing, so it ends here; nothing is stored of the failure."""
    return KingyoError(
        f"baseline '{name}'",
        expected="a model that can be scored",
        received=reason,
        remedy="Mend the cause, then go on with `kingyo resume`.",
    )


def _failures(store: RunStore, search: str) -> str:
    reasons = [each.failure for each in store.summaries("fit") if each.search == search and each.failure]
    if not reasons:
        return "no trials at all (is the budget smaller than one evaluation?)"
    return f"{len(reasons)} failures, the last: {reasons[-1]}"
