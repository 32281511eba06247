"""Evaluate trials: read stored scores, copy scores of the same recipe, and run the rest.

New scores are committed at once. Stored scores are never computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kingyo.errors import KingyoError
from kingyo.evolution.scorer import Scorer
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.evolution.types import BASELINES, Event, ignore_events
from kingyo.runners import Job, Runner
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Answered, Evaluation, ItemScore, Split

KnownScores = Mapping[tuple[str, Split], Mapping[str, ItemScore]]
"""Hash of a recipe and split -> item -> its score in another run with the same items and models."""


@dataclass(frozen=True, kw_only=True)
class ScoresElsewhere:
    """Scores of other runs that trials copy.

    Attributes:
        baselines: those that only baselines copy: the cost of a search must not depend on other runs.
        trials: those that all trials copy.
    """

    baselines: KnownScores = field(default_factory=dict[tuple[str, Split], Mapping[str, ItemScore]])
    trials: KnownScores = field(default_factory=dict[tuple[str, Split], Mapping[str, ItemScore]])

    def of(self, trial: StoredTrial, split: Split) -> Mapping[str, ItemScore]:
        """Return the scores that a trial copies on a split: item -> score."""
        key = trial.recipe_hash, split
        scores = dict(self.trials.get(key, {}))
        if trial.search == BASELINES:
            scores.update(self.baselines.get(key, {}))
        return scores


@dataclass(frozen=True, kw_only=True)
class TrialEvaluation:
    """A trial and its evaluation; ``replayed`` if all of it was stored, so nothing was run or copied."""

    trial: StoredTrial
    evaluation: Evaluation
    replayed: bool = False


class TrialEvaluator:
    """Evaluates trials, each item once, and calls ``notify`` when running trials have more answers.

    ``scorers`` are given if set measures count. Then a trial without a value fails, and images that
    candidates answer with on fit are kept, because measures read them.
    """

    def __init__(
        self,
        store: RunStore,
        runner: Runner,
        items: Mapping[Split, Sequence[str]],
        *,
        reuse: bool = True,
        known: ScoresElsewhere | None = None,
        scorers: Mapping[Split, Scorer] | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._running: dict[int, tuple[StoredTrial, Job]] = {}
        self._waiting: list[tuple[StoredTrial, Split, Sequence[str]]] = []
        self._n_jobs = 0
        self._reuse = reuse
        self._known = known or ScoresElsewhere()
        self._scorers = scorers or {}
        self.notify: Callable[[Event], None] = ignore_events
        self.items = items

    @property
    def n_workers(self) -> int:
        """Return the number of trials that are evaluated at a time."""
        return self._runner.n_workers

    def evaluate_all(
        self, trials: Iterable[StoredTrial], split: Split, items: Sequence[str] | None = None
    ) -> Iterator[TrialEvaluation]:
        """Yield the evaluation of each trial on a split, or on some of its items, in order of finishing.

        Trials of the same recipe wait for each other and copy, so what is run and stored for each does not
        depend on the order of finishing.
        """
        # A queue keeps workers busy while results are stored. With one worker there is no queue: each result
        # is stored before the next job begins.
        most = self.n_workers if self.n_workers == 1 else 2 * self.n_workers
        for trial in trials:
            known = self.begin(trial, split, items or self.items[split])
            if known is not None:
                yield known
            while len(self._running) >= most:
                yield from self.finish()
        while self._running:
            yield from self.finish()

    def begin(self, trial: StoredTrial, split: Split, items: Sequence[str]) -> TrialEvaluation | None:
        """Return the evaluation of a trial if it is known; otherwise start it and return None."""
        if self._must_wait(trial):
            self._waiting.append((trial, split, items))
            return None
        known = self._store.evaluation(trial.id, split)
        if known is not None and known.failure is not None:
            return TrialEvaluation(trial=trial, evaluation=known, replayed=True)
        missing = _without(items, known)
        if not missing:
            assert known is not None, "a split has items"
            return TrialEvaluation(trial=trial, evaluation=known, replayed=True)
        if self._reuse:
            missing = self._copy(trial, split, missing)
        if not missing:
            return self._stored(trial, split)
        self._n_jobs += 1
        job = Job(id=self._n_jobs, recipe=read_recipe(trial), split=split, items=tuple(missing))
        self._running[job.id] = trial, job
        self._runner.submit(job)
        return None

    def finish(self) -> Iterator[TrialEvaluation]:
        """Wait for a running trial; yield it, and waiting trials that can copy from it."""
        job, new = self._runner.next(self._report)
        trial, done = self._running.pop(job)
        yield self._record(trial, done, new)
        recipe = trial.recipe_hash
        twins = [waiting for waiting in self._waiting if waiting[0].recipe_hash == recipe]
        self._waiting = [waiting for waiting in self._waiting if waiting[0].recipe_hash != recipe]
        for twin in twins:
            known = self.begin(*twin)  # it may have to run after all; then the others wait again
            if known is not None:
                yield known

    def _report(self, number: int, answered: Answered) -> None:
        trial, job = self._running[number]
        self.notify(
            Event(kind="answered", search=trial.search, split=job.split, trial=trial, answered=answered)
        )

    def _must_wait(self, trial: StoredTrial) -> bool:
        """Return whether a trial of the same recipe is running, so that its scores can be copied."""
        running = (other.recipe_hash for other, _ in self._running.values())
        return self._reuse and trial.recipe_hash in running

    def _copy(self, trial: StoredTrial, split: Split, missing: list[str]) -> list[str]:
        """Copy scores of trials of the same recipe; return the items that are still missing."""
        for twin in self._store.same_recipe(trial.recipe_hash, split, but=trial.id):
            stored, needed = self._store.evaluation(twin, split), set(missing)
            shared = tuple(score for score in stored.scores if score.item in needed) if stored else ()
            missing = self._shared(trial, split, missing, Evaluation(scores=shared, copied_from=twin))
        known = self._known.of(trial, split)
        elsewhere = tuple(known[item] for item in missing if item in known)
        return self._shared(trial, split, missing, Evaluation(scores=elsewhere, copied_from=trial.id))

    def _shared(self, trial: StoredTrial, split: Split, missing: list[str], shared: Evaluation) -> list[str]:
        if not shared.scores:
            return missing
        self._store.record(trial.id, split, shared)
        return _without(missing, shared)

    def _record(self, trial: StoredTrial, job: Job, new: Evaluation) -> TrialEvaluation:
        new = self._with_a_value(trial, job.split, new)
        if trial.name is not None and new.failure is not None:
            raise _baseline_failed(trial.name, new.failure)
        if job.split == "fit" and trial.search != BASELINES and not self._scorers:
            new = _without_media(new)
        self._store.record(trial.id, job.split, replace(new, copied_from=None), n_items=len(job.items))
        return self._stored(trial, job.split)

    def _with_a_value(self, trial: StoredTrial, split: Split, new: Evaluation) -> Evaluation:
        """Return the evaluation, or a failure if it completes a set of answers without a value."""
        if split not in self._scorers or new.failure is not None:
            return new
        known = self._store.evaluation(trial.id, split)
        scores = (*(() if known is None else known.scores), *new.scores)
        is_complete = len(scores) == len(self.items[split])
        failure = self._scorers[split].missing_value_reason(scores) if is_complete else None
        return new if failure is None else replace(new, scores=(), failure=failure)

    def _stored(self, trial: StoredTrial, split: Split) -> TrialEvaluation:
        evaluation = self._store.evaluation(trial.id, split)
        assert evaluation is not None, "it was just recorded"
        return TrialEvaluation(trial=trial, evaluation=evaluation)


def _without(items: Sequence[str], known: Evaluation | None) -> list[str]:
    have = {score.item for score in known.scores} if known is not None else set[str]()
    return [item for item in items if item not in have]


def _without_media(evaluation: Evaluation) -> Evaluation:
    """Drop images from an evaluation; those of thousands of candidates would fill the disk."""
    if all(score.media is None for score in evaluation.scores):
        return evaluation
    return replace(evaluation, scores=tuple(score._replace(media=None) for score in evaluation.scores))


def _baseline_failed(name: str, reason: str) -> KingyoError:
    """Return the error that ends the run, because there is nothing to compare with."""
    return KingyoError(
        f"baseline '{name}'",
        expected="a model that can be scored",
        received=reason,
        remedy="Fix the cause, then continue with `kingyo resume`. If the cause is a setting in run.yaml, "
        "start a new run with `kingyo evolve`: `resume` uses the settings that the run stores.",
    )
